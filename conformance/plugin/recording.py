"""The controller's side: records come in, one report goes out. Only this process writes files."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conformance.plugin.clock import process_began
from conformance.plugin.collection import cell_id_of
from conformance.plugin.progress import Progress
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
    Record,
    Report,
    RowRecord,
    Run,
    Sharded,
    make_report,
)
from reports.power import published_power
from reports.printable import printable, private_places
from reports.problems import problems_of
from reports.records import RecordWriter

BREADCRUMBS = ".breadcrumbs"


class Recorder:
    """Collects the records of a run and writes the report."""

    def __init__(self, settings: Settings, command: tuple[str, ...]) -> None:
        self._settings = settings
        self._command = command
        self._records: list[Record] = []
        self._rows: list[RowRecord] = []
        self._processes: list[Process] = []
        self._launched = process_began()
        self._writer: RecordWriter | None = None
        self._run: Run | None = None
        self._progress = Progress(0)
        self.report: Report | None = None

    @property
    def breadcrumbs(self) -> Path:
        """Where workers say where they are."""
        return self._settings.report_dir / BREADCRUMBS

    def prepare(self) -> None:
        """Make the report folder.

        Raises:
            UsageError: it cannot be written to.
        """
        folder = self._settings.report_dir
        try:
            self.breadcrumbs.mkdir(parents=True, exist_ok=True)
            (folder / "records.jsonl").touch()
        except OSError as error:
            raise UsageError(f"--report-dir {folder}: cannot be written to: {error.strerror}") from None
        link_latest(folder)

    def planned(self, nodeids: Iterable[str], whole: Sharded | None = None) -> None:
        """The tests that this run will do, and the plan that they are a shard of.

        xdist tells once per worker, and only the first counts.
        """
        nodeids = list(nodeids)
        told = {cell for nodeid in nodeids if (cell := cell_id_of(nodeid)) is not None}
        cells = [cell.id for cell in self._settings.plan if cell.id in told]  # workers take them in another order
        rows = [row for nodeid in nodeids if (row := row_key(nodeid)) is not None]
        if self._writer is not None or not (cells or rows):
            return
        self.prepare()
        settings = self._settings
        places = private_places(settings.fixture_cache)
        self._run = Run(
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
            k_max_single=oracle.SINGLE.k_max,
            k_mean_single=oracle.SINGLE.k_mean,
            planned=cells,
            planned_rows=rows,
            shard=whole,
            guide=guide_entries(settings, cells, rows),
            architectures=architecture_facts(settings, cells),
        )
        self._writer = RecordWriter(settings.report_dir / "records.jsonl", self._run)
        self._progress = Progress(len(cells) + len(rows))

    def process(self, worker: str, began: float, seconds: dict[str, float]) -> None:
        """What a process spent before it measured; `began` is of the epoch."""
        self._know(Process(worker=worker, began=self._after(began), seconds=seconds))

    def _know(self, process: Process) -> None:
        self._processes.append(process)
        if self._writer is not None:
            self._writer.write(process)

    def process_died(self, worker: str) -> None:
        """A process is gone before its time; one that came to nothing was never heard of."""
        known = [one for one in self._processes if one.worker == worker]
        for process in known[-1:]:
            self._know(process.model_copy(update={"died": self._after(time.time())}))

    def record(self, line: str, began: float | None = None, took: float = 0.0) -> str | None:
        """A record as JSON, from wherever the cell ran; what is to be told of how far the run is.

        `began` is of the epoch, `took` in seconds.
        """
        record = Record.model_validate_json(line)
        record.began, record.took = None if began is None else self._after(began), round(took, 3)
        self._records.append(record)
        return self._keep(record)

    def record_row(self, line: str, worker: str = "", began: float | None = None) -> str | None:
        """The same of the record of a row."""
        row = RowRecord.model_validate_json(line)
        row.began, row.worker = None if began is None else self._after(began), worker
        self._rows.append(row)
        return self._keep(row)

    def _after(self, moment: float) -> float:
        return max(0.0, round(moment - self._launched, 3))

    def _keep(self, record: Record | RowRecord) -> str | None:
        if self._writer is not None:
            self._writer.write(record)
        return self._progress.came(fails=record.fails, now=time.monotonic())

    def has(self, name: str | None) -> bool:
        """Whether a record of that cell or row is here."""
        return any(record.cell == name for record in self._records) or any(row.key == name for row in self._rows)

    def finish(self) -> Report | None:
        """Write the report, or nothing if no cell was planned."""
        if self._run is None or self._writer is None:
            return None
        end = End(finished=datetime.now(UTC), problems=list(self._problems(self._run)))
        self._writer.write(end)
        self._writer.close()
        from reports.write import write_html, write_json, write_summary  # the template engine, for one page at the end

        power = published_power(self._settings.stack.device)
        report = make_report(self._run, self._records, rows=self._rows, processes=self._processes, power=power, end=end)
        write_json(report, self._settings.report_dir)
        write_html(report, self._settings.report_dir)
        write_summary(report, self._settings.report_dir)
        self.report = report
        return report

    def _problems(self, run: Run) -> Iterator[str]:
        settings = self._settings
        known = {"waivers": settings.waivers, "architectures": settings.architectures, "guide": settings.guide}
        return problems_of(run, self._records, self._rows, **known)


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
    """A run in which every test passed still fails if something is missing, empty or out of date."""
    failed = bool(report.failures or report.failing_rows or report.problems)
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
