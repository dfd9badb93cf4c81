"""`python -m matrix cluster`: the plan in blocks, a Ray task for each, and one report of what comes back."""

import itertools
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from conformance.children import planned
from conformance.cluster.block import Block, measured
from conformance.cluster.gathering import Gathered
from conformance.cluster.nodes import Found, Node, Slots, check, slots_of
from conformance.plugin.forkserver import ROOT
from conformance.plugin.recording import commit_of_suite, link_latest
from conformance.plugin.settings import REPORTS, architectures_meant
from matrix.architectures import load_architectures
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.shard import divide
from matrix.waiver import load_waivers
from reports.document import Report, Run, Sharded
from reports.files import forget_report
from reports.merge import Part, architectures_of, merge, read_part, refuse_difference
from reports.records import write_lines
from reports.text import summary_lines
from reports.write import write_html, write_json, write_summary

BLOCKS_PER_SLOT = 2  # each costs a start; with one, the slowest is waited for, and a node that joins has nothing to do
_OWN = ("--shard", "--resume", "--only", "-q", "--quiet")
TRIES = 3  # of a block of which nothing comes
_PATIENCE = 10.0  # seconds, for an address to answer
_LOOK = 15.0  # seconds in which nothing comes, after which it is asked whether a node is left
_PATIENCE_FOR_NODES = 600.0  # seconds, for one to join where none is left
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    arguments: tuple[str, ...]  # of pytest
    address: str | None
    report_dir: Path | None
    blocks: int | None


def run_on_cluster(wanted: Wanted, say: Say) -> bool:
    """Measure the plan on a cluster, write a report for each model of GPU, and say whether all is as documented.

    Raises:
        UsageError: there is no Ray or no cluster, its nodes cannot measure together, or the plan cannot be.
    """
    ray = _ray()
    _connect(ray, wanted.address)
    try:
        every = slots_of(_checked_nodes(ray))
        folder = wanted.report_dir or REPORTS / f"{datetime.now():%Y%m%d-%H%M%S}"
        good = True
        for slots in every:
            place = folder / slots.model if len(every) > 1 else folder
            good &= _one_report(ray, wanted, slots, place, say)
        return good
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("a cluster needs Ray: python -m pip install -e '.[cluster]', on every node") from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS") or None
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and "//" not in host:
        try:  # Ray itself would ask for minutes
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        except OSError as error:
            raise UsageError(f"--address {address}: {error.strerror or error}; is a Ray head running there?") from None
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=None if address else False
        )
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"--address {address}: {said}") from None


def _checked_nodes(ray: Any) -> list[Node]:
    nodes = _alive(ray)
    measuring = [node for node in nodes if node.gpus] or [node for node in nodes if node.cores]
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asking = {}
    for number, node in enumerate(measuring, start=1):
        there = _look_remotely(ray).options(num_cpus=0, scheduling_strategy=strategy(node.id, soft=False))
        asking[f"{node.address} ({number})"] = there.remote()
    found = {address: Found(**ray.get(answer)) for address, answer in asking.items()}
    check(found, commit_of_suite())
    return measuring


def _alive(ray: Any) -> list[Node]:
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [Node(node["NodeID"], node["NodeManagerAddress"], node["Resources"]) for node in alive]


def _look_remotely(ray: Any) -> Any:
    # Ray sends a function within a function as code: it must speak where the suite is not installed too.
    def look() -> dict[str, Any]:
        try:
            from conformance.plugin.recording import commit_of_suite
            from matrix.stack import installed_versions
        except ImportError as error:
            return {"problem": f"the suite is not installed there ({error}); python -m pip install -e '.[cluster]'"}
        versions = installed_versions()
        lacking = [name for name in ("torch", "transformers") if name not in versions]
        problem = f"{' and '.join(lacking)} not installed there" if lacking else ""
        return {"versions": versions, "commit": commit_of_suite(), "problem": problem}

    return ray.remote(look)


def _one_report(ray: Any, wanted: Wanted, slots: Slots, folder: Path, say: Say) -> bool:
    arguments = wanted.arguments
    for argument in arguments:
        if argument.partition("=")[0] in _OWN:
            raise UsageError(f"{argument}: the cluster divides and continues a plan by itself; leave it out")
    if not any(argument.partition("=")[0] == "--profile" for argument in arguments):
        arguments += (f"--profile={'pairwise' if slots.gpus else 'smoke'}",)
    cells, rows = planned(arguments)
    blocks = wanted.blocks or min(len(cells) + len(rows), BLOCKS_PER_SLOT * slots.count)
    if not 1 <= blocks <= len(cells) + len(rows):
        raise UsageError(f"--blocks {blocks}: must be from 1 to {len(cells) + len(rows)}, the tests of the plan")
    say(f"{len(cells):,} cells and {len(rows):,} rows in {blocks} blocks, {slots.count} at once{_named(slots)}")
    folder.mkdir(parents=True, exist_ok=True)
    forget_report(folder)
    (folder / "records.jsonl").unlink(missing_ok=True)
    shutil.rmtree(folder / "blocks", ignore_errors=True)
    link_latest(folder)
    tasks = _Tasks(ray, slots, arguments, folder, Sharded(number=1, of=blocks, planned=cells, planned_rows=rows), say)
    of_cells, of_rows = divide([parse_cell(cell) for cell in cells], rows, blocks)
    for number in range(1, blocks + 1):
        of_block = [*zip(cells, of_cells, strict=True), *zip(rows, of_rows, strict=True)]
        tasks.start(tuple(name for name, one in of_block if one == number))
    parts = tasks.finished()
    report = _whole(parts, arguments)
    write_lines(report, folder)
    write_json(report, folder)
    write_summary(report, folder)
    page = write_html(report, folder)
    for line in (*summary_lines(report), *beside_cells(parts), f"report: {page}"):
        say(line)
    return not (report.failures or report.failing_rows or report.problems)


def _whole(parts: Sequence[Part], arguments: Sequence[str]) -> Report:
    """One report, with the waivers and architectures that the arguments of pytest name, which runs in ROOT."""
    folder, _ = architectures_meant(ROOT, value_of("--architectures", arguments), "")
    waivers = value_of("--waivers", arguments)
    known = architectures_of(parts, load_architectures(folder))
    return merge(parts, load_waivers(known, ROOT / Path(waivers).expanduser() if waivers else None), known)


def value_of(option: str, arguments: Sequence[str]) -> str | None:
    """What the arguments say last for an option, in either spelling."""
    found = None
    for argument, after in itertools.pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name == option:
            found = value if equals else after
    return found


def _named(slots: Slots) -> str:
    return f", each a {slots.model or 'GPU'} and {slots.cores} cores" if slots.gpus else ""


class _Tasks:
    """The tasks of one report. Of one whose node is gone, what is left is a task again; Ray says where."""

    def __init__(
        self, ray: Any, slots: Slots, arguments: tuple[str, ...], folder: Path, plan: Sharded, say: Say
    ) -> None:
        self._ray, self._slots, self._arguments, self._folder = ray, slots, arguments, folder / "blocks"
        self._plan, self._say = plan, say
        self._remote = ray.remote(measured).options(
            num_cpus=slots.cores,
            num_gpus=slots.gpus,
            resources=slots.resources,
            max_retries=0,  # Ray would run the whole block again
            num_returns="streaming",
        )
        self._gathered: list[Gathered] = []
        self._streams: dict[Any, tuple[Gathered, int]] = {}
        self._first: Run | None = None
        self._waits_since: float | None = None  # for a node

    def start(self, names: tuple[str, ...], tries: int = TRIES) -> None:
        number = len(self._gathered) + 1
        shard = self._plan.model_copy(update={"number": number, "of": max(self._plan.of, number)})
        gathered = Gathered(self._folder / f"{number:04}", names, shard)
        self._gathered.append(gathered)
        stream = self._remote.remote(Block(names, self._arguments, self._slots.cores))
        self._streams[stream] = gathered, tries

    def finished(self) -> list[Part]:
        """Wait for all of them, unless no node is left that could run one and none joins."""
        try:
            while self._streams:
                ready, _ = self._ray.wait(list(self._streams), num_returns=1, timeout=_LOOK)
                for stream in ready:
                    self._advance(stream)
                if not ready and not self._may_come():
                    break
        finally:
            for gathered in self._gathered:
                gathered.close()
        parts = [read_part(gathered.folder) for gathered in self._gathered if gathered.run is not None]
        if not parts:
            raise UsageError("no node has measured anything")
        return parts

    def _may_come(self) -> bool:
        """Whether there is a node to wait for, or one may yet join."""
        if any(map(self._slots.fit, _alive(self._ray))):
            self._waits_since = None
            return True
        now = time.monotonic()
        if self._waits_since is None:
            self._waits_since = now
            left = sum(len(gathered.left) for gathered, _ in self._streams.values())
            self._say(
                f"no node is left that has {self._slots}: {left} tests wait for one to join, "
                f"at most {_PATIENCE_FOR_NODES / 60:.0f} minutes"
            )
        return now - self._waits_since < _PATIENCE_FOR_NODES

    def _advance(self, stream: Any) -> None:
        gathered, tries = self._streams[stream]
        try:
            gathered.take(self._ray.get(next(stream)))
            self._compare(gathered)
            return
        except StopIteration:
            why = "" if gathered.ended else gathered.cut_off or "pytest was ended"
        except self._ray.exceptions.RayTaskError as error:
            if tries <= 1:
                said = f"a block could not run: {error.cause or error}; what came is in {self._folder}"
                raise UsageError(said) from None
            why = f"it could not run: {error.cause or error}"
        except self._ray.exceptions.RayError as error:
            why = "" if gathered.ended else str(error).splitlines()[0]
        del self._streams[stream]
        gathered.close()
        if why and gathered.left:
            progressed = gathered.run is not None and len(gathered.left) < len(gathered.names)
            left = TRIES if progressed else tries - 1
            again = f"{len(gathered.left)} of {len(gathered.names)} tests {'again' if left else 'given up'}"
            self._say(f"a block was cut off, {again}: {why}")
            if left:
                self.start(gathered.left, left)

    def _compare(self, gathered: Gathered) -> None:
        """A node that came later was not looked at before."""
        if gathered.run is None:
            return
        self._first = self._first or gathered.run
        if gathered.run is not self._first:
            refuse_difference(
                self._first, gathered.run, "the first block", "another; what came is in its blocks folder"
            )


def beside_cells(parts: Sequence[Part]) -> Iterator[str]:
    """What tasks cost beside their cells."""
    start = cells = end = 0.0
    for part in parts:
        report = part.report
        began = [one.began for one in (*report.records, *report.rows) if one.began is not None]
        took = [(one.began or 0.0) + one.took for one in report.records]
        took += [(one.began or 0.0) + one.seconds for one in report.rows]
        workers = max(1, len({process.worker for process in report.processes if process.died is None}))
        if began:
            start += min(began) * workers
            end += max(0.0, (report.finished - part.begun).total_seconds() - max(took)) * workers
        cells += sum(one.took for one in report.records) + sum(one.seconds for one in report.rows)
    share = (start + end) / cells if cells else 0.0
    count = len(parts)
    yield (
        f"{count} {'task' if count == 1 else 'tasks'}: {start:,.1f} s until their first cells and {end:,.1f} s after "
        f"their last, beside {cells:,.1f} s of cells and rows ({share:.1%})"
    )
