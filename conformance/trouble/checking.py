"""A run with trouble held against the same run without it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conformance.trouble.catalogue import STEERING, TROUBLES, Trouble
from conformance.trouble.orders import Moment
from matrix.errors import UsageError
from matrix.verdict import Verdict
from reports.document import Record, Report
from reports.reading import read_report
from reports.trouble import Attribution, Changed, TroubledRun

_TITLE = STEERING.encode()


@dataclass(frozen=True)
class Ended:
    """What a run of pytest left behind."""

    status: int | None  # None if it had to be ended
    seconds: float
    folder: Path  # of its report
    struck: frozenset[str]  # the cells in which what was planted has come about
    output: bytes = b""
    processes: list[str] = field(default_factory=list)  # that went on after it


def held_against(
    undisturbed: Mapping[str, Verdict], name: str, planted: Mapping[str, tuple[str, Moment]], ended: Ended
) -> tuple[TroubledRun, list[Attribution]]:
    """What became of each cell; `undisturbed` has the verdicts without trouble, of all cells that were planned."""
    problems, report = [], None
    try:
        report = read_report(ended.folder / "matrix.json")
    except UsageError as error:
        problems.append(f"no report: {error}")
    records = {record.cell: record for record in report.records} if report is not None else {}
    here = {cell: record for cell, record in records.items() if record.verdict is not Verdict.MISSING}
    others = {cell: was for cell, was in undisturbed.items() if cell in here and cell not in planted}
    run = TroubledRun(
        name=name,
        planned=len(undisturbed),
        met=len(planted),
        seconds=round(ended.seconds, 1),
        status=ended.status,
        changed=[
            Changed(cell=cell, was=was, now=here[cell].verdict)
            for cell, was in others.items()
            if here[cell].verdict is not was
        ],
        lost=[cell for cell in undisturbed if cell not in here],
        helped=[cell for cell in others if here[cell].first_verdict is not None],
        problems=[*problems, *_problems(report, ended)],
    )
    attributions = [
        attributed(name, TROUBLES[trouble], moment, records[cell], struck=cell in ended.struck)
        for cell, (trouble, moment) in planted.items()
        if cell in records
    ]
    return run, attributions


def attributed(run: str, trouble: Trouble, moment: Moment, record: Record, *, struck: bool) -> Attribution:
    """Whether the record of a cell that met trouble says what it is to say."""
    failure = record.observation.failure
    phase = failure.phase.value if failure is not None and record.verdict is not Verdict.SUPPORTED else ""
    return Attribution(
        run=run,
        trouble=trouble.name,
        moment=moment.value,
        cell=record.cell,
        verdict=record.verdict,
        phase=phase,
        said=record.reason,
        wrong=list(_wrong(trouble, moment, record, phase)) if struck else ["it has never struck"],
    )


def _wrong(trouble: Trouble, moment: Moment, record: Record, phase: str) -> Iterator[str]:
    failure = record.observation.failure
    if record.verdict is not trouble.verdict:
        yield f"{record.verdict} instead of {trouble.verdict}: {record.reason[:300]}"
    elif phase != trouble.phase(moment):
        yield f"in phase {phase or 'none'} instead of {trouble.phase(moment)}"
    elif trouble.type and (failure is None or failure.type != trouble.type):
        yield f"{failure.type if failure else 'nothing'} instead of {trouble.type}"
    elif trouble.leaves and not any(trouble.leaves in leak for leak in record.observation.evidence.leaks):
        yield f"that it left {trouble.leaves} changed is not said"


def _problems(report: Report | None, ended: Ended) -> Iterator[str]:
    """What is wrong with a run as a whole."""
    if report is not None:
        yield from (f"{cell} was told {count} times" for cell, count in _told(ended.folder).items() if count > 1)
        yield from (
            f"{name} is not there" for name in ("index.html", "summary.md") if not (ended.folder / name).is_file()
        )
        failed = bool(report.failures)
        if ended.status is not None and ended.status != int(failed):
            yield f"exit status {ended.status} though {len(report.failures)} cells fail"
        yield from (f"the report has a line that cannot be read: {line}" for line in report.unreadable)
    if _TITLE in ended.output:
        yield "a message steers the terminal"
    yield from (f"a process went on: {process}" for process in ended.processes)


def _told(folder: Path) -> Counter[str]:
    """How often each cell has a record among those that were written as the cells ended."""
    path = folder / "records.jsonl"
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    parts = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return Counter(part["cell"] for part in parts if part["kind"] == "record")
