"""Failures with the same cause, gathered into one entry."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from matrix.expectation import Expectation, Outcome
from matrix.verdict import Verdict
from reports.document import Record, RowRecord, backend_of

# In the order in which a reader should see them: what takes a process down, then silent wrong answers.
GRAVEST_FIRST = (
    Verdict.CRASHED,
    Verdict.DEVICE_LOST,
    Verdict.INACCURATE,
    Verdict.ERROR,
    Verdict.UNEXPECTED,
    Verdict.TIMEOUT,
    Verdict.OUT_OF_MEMORY,
    Verdict.SUBSTITUTED,
    Verdict.FLAKY,
    Verdict.NOT_BUILT,
    Verdict.MISSING,
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")
_LINE = re.compile(r":\d+ ")  # of a frame: it moves with every release


@dataclass(frozen=True)
class Group:
    """Failures of one cause, the one that is shortest to reproduce first."""

    word: str
    cause: str
    records: list[Record]

    @property
    def first(self) -> Record:
        """The record that speaks for the group."""
        return self.records[0]

    @property
    def where(self) -> str:
        """The architectures and backends that it spans, and what was expected if not support."""
        architectures = dict.fromkeys(record.axes["architecture"] for record in self.records)
        backends = dict.fromkeys(backend_of(record) for record in self.records)
        where = f"{few(architectures, 'architectures')} · {few(backends, 'backends')}"
        expected = self.first.expectation.outcome
        return where if expected is Outcome.SUPPORTED else f"{where} · expected {expected}"


def cause_of(record: Record) -> str:
    """What it has in common with others of the same fault.

    Where wrong numbers begin: the class of the module, and which rows and tokens. Where something was raised: type and
    innermost frame of the libraries, and what is said where that is torch's. Else the reason, whatever its numbers.
    """
    origin, failure = record.observation.origin, record.observation.failure
    if record.observation.evidence.missing_parameters:
        return "the checkpoint lacks parameters"
    if origin is not None:
        return f"begins in {origin.cause}"
    if failure is not None and failure.frames:
        frame = _LINE.sub(" ", failure.frames[-1])
        # What torch raises in its own dispatch says no more by its place than that something was wrong with a call.
        said = f": {_NUMBER.sub('#', failure.message.partition(chr(10))[0])}" if frame.startswith("torch/") else ""
        return f"{failure.type} at {frame}{said}"
    return _NUMBER.sub("#", record.reason)


def failure_groups(failures: Iterable[Record]) -> list[Group]:
    """Failures gathered by verdict, cause and expectation, the gravest first, then the most frequent."""
    found: dict[tuple[str, str, Expectation], list[Record]] = {}
    for record in failures:
        found.setdefault((record.word, cause_of(record), record.expectation), []).append(record)
    groups = [
        Group(word, cause, sorted(records, key=lambda record: len(record.cell)))
        for (word, cause, _), records in found.items()
    ]

    def gravity(group: Group) -> tuple[int, int]:
        verdict = group.first.verdict
        rank = GRAVEST_FIRST.index(verdict) if verdict in GRAVEST_FIRST else len(GRAVEST_FIRST)
        return rank, -len(group.records)

    return sorted(groups, key=gravity)


@dataclass(frozen=True)
class RowGroup:
    """Rows of one family that fail as one another, for the same reason but for the numbers in it."""

    cause: str
    rows: list[RowRecord]

    @property
    def first(self) -> RowRecord:
        """The row that speaks for the group."""
        return self.rows[0]


def row_groups(rows: Iterable[RowRecord]) -> list[RowGroup]:
    """Rows gathered by family, outcome and reason, in the order in which the first of each comes."""
    found: dict[tuple[str, str, str], list[RowRecord]] = {}
    for row in rows:
        found.setdefault((row.family, row.word, _NUMBER.sub("#", row.reason)), []).append(row)
    return [RowGroup(cause, group) for (_, _, cause), group in found.items()]


def few(names: Iterable[str], plural: str) -> str:
    """Names, or how many they are."""
    listed = list(names)
    return ", ".join(listed) if len(listed) <= 4 else f"{len(listed)} {plural}"
