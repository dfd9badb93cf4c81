"""Runs the plan without trouble, then with it, and says what became of each cell."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from conformance.benchmark import supported_cells
from conformance.plugin.forkserver import ROOT, SOCKET
from conformance.trouble.catalogue import TROUBLES, Trouble
from conformance.trouble.checking import Ended, held_against
from conformance.trouble.orders import VARIABLE, Moment, Orders, deal
from matrix.cell import Cell
from matrix.errors import UsageError
from matrix.stack import Device, Stack
from matrix.verdict import Verdict
from reports.reading import read_report
from reports.trouble import Attribution, Campaign, Kind, TroubledRun

ARCHITECTURES = ("gpt2", "llama", "opt", "bert")  # small, and known to work on every stack
_MARK = "CONFORMANCE_TROUBLE_RUN"  # the variable by which the processes of a run are known
_ALONE = 60  # cells, at most, of a run for one kind of trouble
_TO_GO = 10.0  # seconds, for the processes of a run that has ended
_NEIGHBOUR = """
import sys
import torch
held = []
for device in range(torch.cuda.device_count()):
    free, _ = torch.cuda.mem_get_info(device)
    held.append(torch.empty(max(1, min(70 * 2**30, free - 6 * 2**30)), dtype=torch.uint8, device=f"cuda:{device}"))
print("held", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Conditions:
    """What all runs of a campaign have in common."""

    folder: Path
    fixture_cache: Path
    cell_timeout: float  # seconds
    grace: float  # seconds
    limit: float  # seconds, for a run to end by itself


def chosen_cells(stack: Stack, most: int) -> list[str]:
    """Cells of small models that work here, in the order of the plan; half of them generate if they can."""
    cells = [cell for cell in supported_cells(stack, sys.maxsize) if cell.architecture in ARCHITECTURES]
    generating = [cell for cell in cells if cell.workload == "generate"]
    chosen = {*_spread(generating, most // 2)}
    chosen |= {*_spread([cell for cell in cells if cell not in generating], most - len(chosen))}
    return [cell.id for cell in cells if cell in chosen]


def _spread(cells: list[Cell], most: int) -> list[Cell]:
    """At most so many, evenly over all."""
    count = min(most, len(cells))
    return [cells[place * len(cells) // count] for place in range(count)]


def measure(
    stack: Stack, cells: list[str], troubles: Sequence[Trouble], modes: Iterable[int], at: Conditions
) -> Campaign:
    """The whole campaign.

    Raises:
        UsageError: there are too few cells for the troubles, or the run without trouble has no report.
    """
    started = datetime.now(UTC)
    modes = tuple(modes)
    common = deal(
        cells, [(one.name, moment) for moment in Moment for one in troubles if not one.alone and moment in one.moments]
    )
    calm = run_pytest("undisturbed", cells, max(modes), {}, at)
    undisturbed = verdicts_of(calm)
    runs: list[TroubledRun] = []
    attributions: list[Attribution] = []

    def run(
        name: str,
        workers: int,
        planted: Mapping[str, tuple[str, Moment]],
        plan: list[str] = cells,
        beside: AbstractContextManager[None] | None = None,
    ) -> None:
        with beside or contextlib.nullcontext():
            ended = run_pytest(name, plan, workers, planted, at)
        troubled, found = held_against({cell: undisturbed[cell] for cell in plan}, name, planted, ended)
        runs.append(troubled)
        attributions.extend(found)

    for workers in modes if common else ():
        run(f"-n {workers}", workers, common)
    few, most = cells[:: len(cells) // _ALONE + 1], max(modes)
    for one in troubles:
        if one.alone:
            run(f"-n {most}, {one.name}", most, deal(few, [(one.name, moment) for moment in one.moments]), few)
    if stack.device is Device.CUDA:
        run(f"-n {most}, 70 GiB taken by a neighbour", most, {}, beside=neighbour())
    return Campaign(
        started=started,
        finished=datetime.now(UTC),
        stack=stack,
        kinds={one.name: Kind(about=one.about, verdict=one.verdict) for one in troubles},
        undisturbed=dict(read_report(calm.folder).counts),
        runs=runs,
        attributions=attributions,
    )


def verdicts_of(ended: Ended) -> dict[str, Verdict]:
    """The verdicts of a run.

    Raises:
        UsageError: it has no report.
    """
    try:
        return {record.cell: record.verdict for record in read_report(ended.folder).records}
    except UsageError as error:
        said = ended.output.decode(errors="replace").strip().splitlines()
        raise UsageError(f"the run without trouble failed: {said[-1] if said else error}") from None


def run_pytest(
    name: str, cells: Iterable[str], workers: int, planted: Mapping[str, tuple[str, Moment]], at: Conditions
) -> Ended:
    """Run the cells with what is planted into them, until the run ends or its time is over."""
    folder = at.folder / name.replace(" ", "").replace(",", "-").lstrip("-")
    orders = Orders(planted=planted, report_dir=str(folder), grace=at.grace)
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "pytest", "conformance/test_cells.py", "-q", "-n", str(workers)]
    command += ["-p", "conformance.trouble.plugin", "-p", "no:cacheprovider", f"--report-dir={folder}"]
    command += [f"--fixture-cache={at.fixture_cache}", f"--cell-timeout={at.cell_timeout}"]
    command += [f"--cell={cell}" for cell in cells]
    inherited = {name: value for name, value in os.environ.items() if name not in (SOCKET, "PYTEST_CURRENT_TEST")}
    environment = inherited | {VARIABLE: orders.line(), _MARK: mark}
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status = None
        try:
            status = process.wait(at.limit)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if status is None:
                process.kill()
                process.wait()
        seconds = time.monotonic() - started
        processes = _gone(f"{_MARK}={mark}".encode())
        output.seek(0)
        said = output.read()
        folder.with_suffix(".txt").write_bytes(said)
        struck = orders.struck.read_text(encoding="utf-8").split() if orders.struck.is_file() else []
        return Ended(status, seconds, folder, frozenset(struck), said, processes)


def _gone(mark: bytes) -> list[str]:
    """Wait a little for the processes with that variable to go; those that do not are ended, and named."""
    patience = time.monotonic() + _TO_GO
    while (left := list(_with_variable(mark))) and time.monotonic() < patience:
        time.sleep(0.1)
    for pid, _ in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [command for _, command in left]


def _with_variable(mark: bytes) -> Iterator[tuple[int, str]]:
    """Processes that were started with it: id and command. None where there is no /proc."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (place / "environ").read_bytes().split(b"\0"):
                yield (
                    int(place.name),
                    (place / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")[:200],
                )


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """While entered another process holds most memory of each GPU.

    Raises:
        UsageError: it cannot have it.
    """
    command = [sys.executable, "-c", _NEIGHBOUR]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            if not process.stdout.readline():  # type: ignore[union-attr]
                raise UsageError("the neighbour could not take the GPUs' memory")
            yield
        finally:
            process.stdin.close()  # type: ignore[union-attr]


def chosen_troubles(names: Iterable[str], stack: Stack) -> list[Trouble]:
    """Those of that name, or all that can be had here.

    Raises:
        UsageError: there is none of that name.
    """
    names = list(names)
    for name in names:
        if name not in TROUBLES:
            raise UsageError(f"--trouble {name!r}: allowed are {', '.join(TROUBLES)}")
    return [one for one in TROUBLES.values() if one.suits(stack) and (not names or one.name in names)]
