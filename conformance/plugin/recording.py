"""The controller's side: records come in, one report goes out, which no other process writes."""

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from conformance.plugin.clock import process_began
from conformance.plugin.collection import cell_id_of
from conformance.plugin.progress import Progress
from conformance.plugin.resuming import Earlier
from conformance.plugin.rows import row_key
from conformance.plugin.settings import Settings
from matrix import oracle
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.guide import Spelling
from matrix.rows import Family
from reports.document import (
    ArchitectureFacts,
    End,
    GuideEntry,
    Process,
    ProcessMemory,
    Record,
    Report,
    RowRecord,
    Run,
    Sharded,
    cut_off_after,
    make_report,
)
from reports.files import forget_report
from reports.power import published_power
from reports.printable import printable, private_places
from reports.problems import problems_of
from reports.records import Line, RecordWriter

BREADCRUMBS = ".breadcrumbs"


class Recorder:
    """Collects the records of a run and writes the report.

    Args:
        earlier: the run with which this one goes on.
    """

    def __init__(self, settings: Settings, command: tuple[str, ...], earlier: Earlier | None = None) -> None:
        self._settings = settings
        self._command = command
        self._earlier = earlier
        self._records: list[Record] = [] if earlier is None else list(earlier.records)
        self._rows: list[RowRecord] = [] if earlier is None else list(earlier.rows)
        self._processes: list[Process] = [] if earlier is None else list(earlier.processes)
        launched = None if earlier is None else earlier.run.launched
        self._launched = process_began() if launched is None else launched.timestamp()
        self._lock: int | None = None
        self._writer: RecordWriter | None = None
        self._run: Run | None = None
        self._progress = Progress(0)
        self.stopped = ""  # what ended the run before its plan did
        self.report: Report | None = None

    @property
    def breadcrumbs(self) -> Path:
        """Where workers say where they are: of this process alone, for those of one that was killed may still live."""
        return self._settings.report_dir / BREADCRUMBS / str(os.getpid())

    @property
    def begun(self) -> bool:
        """Whether the plan is known and the first line written."""
        return self._run is not None

    @property
    def known(self) -> frozenset[str]:
        """What need not be measured, since an earlier run has: cells by id, rows by key."""
        return frozenset() if self._earlier is None else self._earlier.names

    def prepare(self) -> None:
        """Make the report folder, and keep other runs out of it as long as this process lives.

        Raises:
            UsageError: it cannot be written to, or another run writes there.
        """
        folder = self._settings.report_dir
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder / BREADCRUMBS, ignore_errors=True)
            self.breadcrumbs.mkdir(parents=True)
        except BlockingIOError:
            raise UsageError(f"--report-dir {folder}: another run writes there; name another folder") from None
        except OSError as error:
            raise UsageError(f"--report-dir {folder}: cannot be written to: {error.strerror}") from None

    def planned(self, nodeids: Iterable[str], whole: Sharded | None = None) -> None:
        """The tests that this run will do, and the plan that they are a shard of.

        xdist tells once per worker, and only the first counts.

        Raises:
            UsageError: the run with which it is to go on is another one.
            OSError: the report folder cannot be written to.
        """
        nodeids = list(nodeids)
        told = {cell for nodeid in nodeids if (cell := cell_id_of(nodeid)) is not None}
        told |= {record.cell for record in self._records}
        cells = [cell.id for cell in self._settings.plan if cell.id in told]  # workers take them in another order
        rows = [row for nodeid in nodeids if (row := row_key(nodeid)) is not None]
        if self._earlier is not None:  # in its order
            before = self._earlier.run.planned_rows
            here = {*rows, *(row.key for row in self._rows)}
            rows = [*(row for row in before if row in here), *(row for row in rows if row not in before)]
        if self._writer is not None or not (cells or rows):
            return
        settings = self._settings
        places = private_places(settings.fixture_cache)
        run = Run(
            started=datetime.now(UTC),
            launched=datetime.fromtimestamp(self._launched, UTC),
            profile=settings.profile,
            narrowed=settings.narrowed,
            command=[printable(argument, places) for argument in self._command],
            commit=commit_of_suite(),
            python=platform.python_version(),
            platform=platform.platform(),
            stack=settings.stack,
            checkpoints={name: printable(checkpoint, places) for name, checkpoint in settings.checkpoints.items()},
            seed=settings.seed,
            required=list(settings.required),
            options=settings.decisive,
            k_max_single=oracle.SINGLE.k_max,
            k_mean_single=oracle.SINGLE.k_mean,
            planned=cells,
            planned_rows=rows,
            shard=whole,
            guide=guide_entries(settings, cells, rows),
            architectures=architecture_facts(settings, cells),
        )
        earlier: list[Line] = [*self._processes, *self._records, *self._rows]
        if self._earlier is not None:
            self._earlier.check(run)
            run = self._earlier.run.model_copy(update={"resumed": [*self._earlier.run.resumed, run.started]})
        forget_report(settings.report_dir)
        self._writer = RecordWriter(settings.report_dir / "records.jsonl", run, earlier)
        self._run = run
        self._progress = Progress(len(nodeids))
        link_latest(settings.report_dir)

    def stop(self, why: str) -> None:
        """The run ends before its plan does; what is told first is why."""
        self.stopped = self.stopped or why

    def process(self, worker: str, began: float, seconds: dict[str, float]) -> None:
        """What a process spent before it measured; `began` is of the epoch."""
        self._know(Process(worker=self._named(worker), began=self._after(began), seconds=seconds))

    def _know(self, process: Process) -> None:
        self._processes.append(process)
        self._write(process)

    def process_ended(self, worker: str, memory: dict[str, float] | None, *, died: bool = False) -> None:
        """A process is gone, perhaps before its time; one that came to nothing was never heard of."""
        known = [one for one in self._processes if one.worker == self._named(worker)]
        for process in known[-1:]:
            had = ProcessMemory.model_validate(memory) if memory else None
            self._know(process.model_copy(update={"died": self._after(time.time()) if died else None, "memory": had}))

    def record(self, line: str, began: float | None = None, took: float = 0.0) -> str | None:
        """A record as JSON, from wherever the cell ran; what is to be told of how far the run is.

        `began` is of the epoch, `took` in seconds.
        """
        record = Record.model_validate_json(line)
        record.began, record.took = None if began is None else self._after(began), round(took, 3)
        record.worker = self._named(record.worker)
        self._records.append(record)
        return self._keep(record)

    def record_row(self, line: str, worker: str = "", began: float | None = None) -> str | None:
        """The same of the record of a row."""
        row = RowRecord.model_validate_json(line)
        row.began, row.worker = None if began is None else self._after(began), self._named(worker)
        self._rows.append(row)
        return self._keep(row)

    def _after(self, moment: float) -> float:
        return max(0.0, round(moment - self._launched, 3))

    def _named(self, worker: str) -> str:
        """The worker among those of all the times that the run went on."""
        times = len(self._run.resumed) if self._run is not None else 0
        return f"{times}-{worker}" if times and worker else worker

    def _write(self, line: Line) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write(line)
        except OSError as error:
            self._writer = None
            self.stop(f"records.jsonl cannot be written to: {error.strerror}")
            pytest.exit(self.stopped, returncode=pytest.ExitCode.TESTS_FAILED)

    def _keep(self, record: Record | RowRecord) -> str | None:
        self._write(record)
        return self._progress.came(fails=record.fails, now=time.monotonic())

    def has(self, name: str | None) -> bool:
        """Whether a record of that cell or row is here."""
        return any(record.cell == name for record in self._records) or any(row.key == name for row in self._rows)

    @property
    def lacks(self) -> bool:
        """Whether anything that was planned has no record."""
        planned = [*self._run.planned, *self._run.planned_rows] if self._run is not None else []
        return not {*(record.cell for record in self._records), *(row.key for row in self._rows)}.issuperset(planned)

    def finish(self) -> Report | None:
        """Write the report, or nothing if no cell was planned.

        What cannot be written is in the report that is given back all the same, with one more problem.
        """
        if self._run is None:
            self._leave_no_trace()
            return None
        from reports.write import write_html, write_json, write_summary  # the template engine, for one page at the end

        folder, problems = self._settings.report_dir, list(self._problems(self._run))
        power = published_power(self._settings.stack.device)
        made = partial(make_report, self._run, self._records, rows=self._rows, processes=self._processes, power=power)
        report = made(end=End(finished=datetime.now(UTC), problems=problems))
        try:
            folder.mkdir(parents=True, exist_ok=True)  # somebody may have taken it away
            if self._writer is not None:
                self._writer.write(End(finished=report.finished, problems=problems))
                self._writer.close()
                self._writer = None  # workers that end after that have said all that counts
            write_json(report, folder)
            write_html(report, folder)
            write_summary(report, folder)
        except OSError as error:
            problems.append(f"the report cannot be written to {folder.name}: {error.strerror}")
            report = made(end=End(finished=report.finished, problems=problems))
        shutil.rmtree(folder / BREADCRUMBS, ignore_errors=True)
        self.report = report
        return report

    def _leave_no_trace(self) -> None:
        """Of a run that measured nothing: the folder goes, unless something else is in it."""
        folder = self._settings.report_dir
        if self._lock is not None:
            shutil.rmtree(folder / BREADCRUMBS, ignore_errors=True)
            (folder / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _problems(self, run: Run) -> Iterator[str]:
        settings = self._settings
        if self.stopped:
            yield cut_off_after(run, self._records, self._rows, self.stopped)
        known = {"waivers": settings.waivers, "architectures": settings.architectures, "guide": settings.guide}
        yield from problems_of(run, self._records, self._rows, **known)


def architecture_facts(settings: Settings, cells: Iterable[str]) -> dict[str, ArchitectureFacts]:
    """What is known of the architectures whose cells are planned."""
    planned = dict.fromkeys(cell.partition("-")[0] for cell in cells)
    return {
        name: ArchitectureFacts(
            kind=known.kind,
            family=known.family,
            traits=list(known.traits),
            model_type=known.model_type,
            auto_class=known.auto_class,
            parameters=known.parameters,
        )
        for name in planned
        if (known := settings.architectures.get(name)) is not None
    }


def guide_entries(settings: Settings, cells: list[str], rows: list[str]) -> list[GuideEntry]:
    """The recipes of the guide with what of this run tries them, if it is a run of the guide."""
    planned, parsed = set(rows), [parse_cell(cell) for cell in cells]
    found = []
    for recipe in settings.guide.recipes if settings.profile == "guide" else ():
        keys = {spelling.value: f"{Family.GUIDE}:{recipe.row(spelling)}" for spelling in recipe.probe}
        selections = list(recipe.selections(settings.architectures))
        entry = GuideEntry(
            number=recipe.number,
            name=recipe.name,
            about=recipe.about,
            rows={spelling: key for spelling, key in keys.items() if key in planned},
            cells=[cell.id for cell in parsed if any(cell in selection for selection in selections)],
            cells_spelling=recipe.cells_spelling.value,
        )
        found += [entry] if entry.rows or entry.cells else []
    for requirement in settings.guide.requirements if settings.profile == "guide" else ():
        key = f"{Family.GUIDE}:{requirement.row}"
        if key in planned:
            about = f"{requirement.about} needs {requirement.distribution} {requirement.versions}"
            name = requirement.row.split("-")[1]
            found.append(
                GuideEntry(number=requirement.number, name=name, about=about, rows={Spelling.EITHER.value: key})
            )
    return found


def link_latest(folder: Path) -> None:
    """Point `latest`, beside the report folder, to it; where links are not to be had there is none."""
    latest = folder.parent / "latest"
    if folder.parent.name != "out" or (latest.exists() and not latest.is_symlink()):
        return
    try:
        latest.unlink(missing_ok=True)
        latest.symlink_to(folder.name)
    except OSError:
        return


def exit_status(report: Report, status: int) -> int:
    """A run in which every test passed still fails if something is missing, empty or out of date.

    One that went on with an earlier run, of which nothing was left, is no run without tests.
    """
    failed = bool(report.failures or report.failing_rows or report.problems)
    if status == pytest.ExitCode.NO_TESTS_COLLECTED and report.run.resumed:
        status = int(pytest.ExitCode.OK)
    return int(pytest.ExitCode.TESTS_FAILED) if failed and status == pytest.ExitCode.OK else status


def commit_of_suite() -> str:
    """The commit of the checkout that this is, or empty."""
    folder = Path(__file__).parent
    question = ["git", "-C", os.fspath(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def command_line() -> tuple[str, ...]:
    """How pytest was called, however it was started."""
    return "pytest", *sys.argv[1:]
