"""Is anything lost when a run is ended from outside? `python -m tests.interruptions` ends one again and again.

A plan is run once undisturbed. Then the controller is killed at random moments and the run goes on with --resume, as
often as asked for; the same with SIGTERM, and on a disk that fills and is emptied. In the end the report must hold what
the undisturbed one does, cell by cell. Prints a line for each interruption; exit code 1 if anything differs.
"""

import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from reports.document import Record, RowRecord
from reports.reading import read_report
from tests.sessions import ROOT

_FREE_AT_LAST = 64  # MiB, more than the report of any such plan takes


class Run:
    """One plan and its command, into a folder of its own."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._arguments = [sys.executable, "-m", "pytest", "-q", *arguments]
        self.folder = folder

    def begin(self) -> subprocess.Popen[str]:
        """Start it, or go on with it where there is something to go on with."""
        again = (self.folder / "records.jsonl").is_file()
        where = f"--resume={self.folder}" if again else f"--report-dir={self.folder}"
        return subprocess.Popen(
            [*self._arguments, where], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def records(self) -> int:
        """How many lines it has written."""
        lines = self.folder / "records.jsonl"
        return lines.read_bytes().count(b"\n") if lines.is_file() else 0

    @property
    def found(self) -> dict[str, Any]:
        """What is in its report, by cell or row: nothing that a second run would find otherwise."""
        report = read_report(self.folder)
        assert not report.unreadable, report.unreadable
        assert not report.cut_off, report.cut_off
        return {name: found for one in (*report.records, *report.rows) for name, found in _measured(one)}


def _measured(one: Record | RowRecord) -> Iterator[tuple[str, Any]]:
    if isinstance(one, RowRecord):
        yield one.key, (one.outcome, one.reason)
    else:
        bounds = [(bound.name, bound.value, bound.allowed) for bound in one.bounds]
        yield one.cell, (one.verdict, one.reason, one.kernels, bounds)


def undisturbed(run: Run) -> tuple[float, float]:
    """Seconds until its first record, and in all."""
    began, first = time.monotonic(), 0.0
    process = run.begin()
    while process.poll() is None:
        first = first or (time.monotonic() - began if run.records > 1 else 0.0)
        time.sleep(0.02)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"the run ended with {process.returncode}")
    return first, time.monotonic() - began


def interrupted(run: Run, number: signal.Signals, times: int, first: float, whole: float, dice: random.Random) -> str:
    """End it so often, then let it end by itself; what went wrong, or empty."""
    # Any moment until `latest` is as likely as any other; on average a `times`-th of the cells is measured before it.
    part = (whole - first) / times
    latest = first + part + math.sqrt(part * (part + 2 * first))
    for turn in range(times):
        process = run.begin()
        moment = dice.uniform(0, latest)
        try:
            said, _ = process.communicate(timeout=moment)
            typer.echo(f"  {turn + 1}: it had ended by itself, with {process.returncode}")
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            said, _ = process.communicate()
            typer.echo(f"  {turn + 1}: {number.name} after {moment:.1f} s, {run.records} lines; {process.returncode}")
        # A worker may say with a traceback that nobody hears it any more.
        if "INTERNALERROR" in said or ("Traceback" in said and number is not signal.SIGKILL):
            return said
    return _to_its_end(run)


def on_a_full_disk(run: Run, times: int, dice: random.Random) -> str:
    """Run it on a disk that is full after a while, make room, and so on; what went wrong, or empty."""
    run.folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", os.fspath(run.folder)], check=True)
    filler = run.folder / "filler"
    for turn in range(times):
        _leave_free(filler, dice.randint(8, 160) << 10)
        said, _ = (process := run.begin()).communicate()
        line = next((line for line in said.splitlines() if "No space left" in line), "no word of it")
        typer.echo(f"  {turn + 1}: {run.records} lines; {process.returncode}; {line.strip()}")
        if "Traceback" in said or "INTERNALERROR" in said or process.returncode == 0 or line == "no word of it":
            return said
    _leave_free(filler, _FREE_AT_LAST << 20)
    return _to_its_end(run)


def _to_its_end(run: Run) -> str:
    said, _ = (process := run.begin()).communicate()
    return "" if process.returncode in (0, 1) else f"it ended with {process.returncode}: {said}"


def _leave_free(filler: Path, free: int) -> None:
    """Fill the disk up to so many bytes."""
    filler.unlink(missing_ok=True)
    there = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, there.f_bavail * there.f_frsize - free))


def main(
    kills: Annotated[int, typer.Option(help="so often with kill -9")] = 50,
    terms: Annotated[int, typer.Option(help="so often with SIGTERM")] = 20,
    disks: Annotated[int, typer.Option(help="so often with a full disk, which takes a tmpfs: root")] = 5,
    cells: Annotated[str, typer.Option(help="the plan, as in --cells")] = "architecture=gpt2,llama",
    workers: Annotated[int, typer.Option(help="as in -n")] = 2,
    seed: Annotated[int, typer.Option(help="of the moments")] = 0,
) -> None:
    """Run a plan undisturbed, then interrupted, and hold the reports against each other."""
    dice, wrong = random.Random(seed), 0
    arguments = ["--profile=smoke", f"--cells={cells}", "-n", str(workers), "conformance/test_cells.py"]
    with tempfile.TemporaryDirectory() as place:
        alone = Run(arguments, Path(place) / "alone")
        first, whole = undisturbed(alone)
        expected = alone.found
        typer.echo(f"undisturbed: {len(expected)} records, the first after {first:.1f} s, all after {whole:.1f} s")
        for name, times in (("SIGKILL", kills), ("SIGTERM", terms), ("full disk", disks)):
            if not times:
                continue
            run = Run(arguments, Path(place) / name.replace(" ", "-"))
            if name == "full disk":
                failed = on_a_full_disk(run, times, dice)
            else:
                failed = interrupted(run, signal.Signals[name], times, first, whole, dice)
            found = {} if failed else run.found
            different = [cell for cell in {*expected, *found} if expected.get(cell) != found.get(cell)]
            typer.echo(f"{times} × {name}: {len(found)} records, {len(different)} differ from the undisturbed run")
            for cell in different[:10]:
                typer.echo(f"  {cell}: {expected.get(cell)} -> {found.get(cell)}")
            if failed:
                typer.echo(failed)
            if name == "full disk":
                subprocess.run(["umount", os.fspath(run.folder)], check=True)
            wrong += bool(different or failed)
    raise typer.Exit(int(wrong > 0))


if __name__ == "__main__":
    typer.run(main)
