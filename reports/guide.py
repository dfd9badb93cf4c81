"""The guide, recipe by recipe: what was found in each spelling, on one stack or on several side by side."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from matrix.guide import Spelling
from matrix.rows import Family, RowOutcome
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.document import GuideEntry, Record, Report, RowRecord
from reports.text import device_of, reproducing_command, row_command

# What makes two runs runs of one stack, and the order in which it is told.
_TOLD = ("transformers", "torch", "optimum", "flash-attn", "bitsandbytes", "accelerate", "peft")
# Rows are drawn as the verdicts are that mean the same.
ROW_LOOKS = {
    RowOutcome.HOLDS: Verdict.SUPPORTED,
    RowOutcome.REFUSED: Verdict.REFUSED,
    RowOutcome.VIOLATED: Verdict.ERROR,
    RowOutcome.UNAVAILABLE: Verdict.UNAVAILABLE,
    RowOutcome.MISSING: Verdict.MISSING,
}
_SAYING_WHY = 2  # reasons shown of one spelling on one stack


@dataclass(frozen=True)
class Mark:
    """What some rows or cells came to."""

    look: Verdict
    word: str
    count: int  # of cells; 0 for a row, which is one by nature
    known: bool


@dataclass(frozen=True)
class Found:
    """What was found of one recipe in one spelling on one stack."""

    marks: tuple[Mark, ...]
    reasons: tuple[str, ...]  # of what is not supported


@dataclass(frozen=True)
class Line:
    """One recipe, and by stack what was found in the guide's spelling and in today's."""

    number: str
    name: str
    about: str
    by_stack: tuple[tuple[Found | None, Found | None], ...]


@dataclass(frozen=True)
class Wrong:
    """A cell or recipe on a stack where it is not right."""

    stack: str
    word: str
    reason: str
    reproducer: str


@dataclass(frozen=True)
class Split:
    """A cell or recipe that is right on one stack and wrong on another."""

    name: str
    right: tuple[str, ...]
    wrong: tuple[Wrong, ...]


@dataclass
class StackRuns:
    """All that was measured on one stack, in however many runs."""

    stack: Stack
    runs: list[Report] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    rows: dict[str, RowRecord] = field(default_factory=dict)
    entries: dict[tuple[str, str], GuideEntry] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """The GPU, or CPU."""
        return device_of(self.stack)

    @property
    def versions(self) -> list[tuple[str, str]]:
        """The libraries that the guide is about."""
        return [(name, self.stack.versions[name]) for name in _TOLD if name in self.stack.versions]

    @property
    def label(self) -> str:
        """In short."""
        return ", ".join([self.device, *(f"{name} {version}" for name, version in self.versions[:3])])

    def add(self, report: Report) -> None:
        """Take in a run; what was measured counts more than what was not."""
        self.runs.append(report)
        if len(report.run.stack.gpus) > len(self.stack.gpus):
            self.stack = report.run.stack
        for record in report.records:
            if record.cell not in self.records or record.verdict.executed:
                self.records[record.cell] = record
        for row in report.rows:
            if row.key not in self.rows or row.outcome not in (RowOutcome.UNAVAILABLE, RowOutcome.MISSING):
                self.rows[row.key] = row
        for entry in report.run.guide:
            self.entries.setdefault((entry.number, entry.name), entry)

    def found(self, entry: GuideEntry, spelling: Spelling) -> Found | None:
        """What was found of a recipe in this spelling; None if it is not tried in it."""
        spelled = (spelling.value, Spelling.EITHER.value)
        rows = [self.rows[key] for name, key in entry.rows.items() if name in spelled and key in self.rows]
        cells = [self.records[cell] for cell in entry.cells if cell in self.records]
        if entry.cells_spelling not in spelled:
            cells = []
        if not rows and not cells:
            return None
        marks = [Mark(ROW_LOOKS[row.outcome], row.word, 0, row.waived is not None) for row in rows]
        counts = Counter((record.verdict, record.waived is not None) for record in cells)
        marks += [Mark(verdict, verdict.value, count, known) for (verdict, known), count in sorted(counts.items())]
        reasons = [row.reason for row in rows if row.reason]
        reasons += [_why(record) for record in cells if record.verdict is not Verdict.SUPPORTED]
        return Found(tuple(marks), tuple(dict.fromkeys(reasons))[:_SAYING_WHY])


def by_stack(reports: Iterable[Report]) -> list[StackRuns]:
    """Reports gathered by device and versions, in the order in which each stack comes first."""
    groups: dict[tuple[object, ...], StackRuns] = {}
    for report in reports:
        stack = report.run.stack
        gpu = stack.gpus[0].name if stack.gpus else ""
        key = (stack.device, gpu, *(stack.versions.get(name) for name in _TOLD))
        groups.setdefault(key, StackRuns(stack)).add(report)
    return list(groups.values())


def guide_lines(stacks: Sequence[StackRuns]) -> list[Line]:
    """Every recipe that one of them tried, then every claim, in the order of the guide."""
    entries: dict[tuple[str, str], GuideEntry] = {}
    for stack in stacks:
        entries |= {key: entry for key, entry in stack.entries.items() if key not in entries}
        for row in stack.rows.values():
            if row.family is Family.CLAIM:
                entry = GuideEntry(number=row.name, name="claim", about=row.about, rows={"either": row.key})
                entries.setdefault((row.name, "claim"), entry)
    ordered = sorted(entries.values(), key=lambda entry: place_of(entry.number))
    return [
        Line(
            entry.number,
            entry.name,
            entry.about,
            tuple((stack.found(entry, Spelling.GUIDE), stack.found(entry, Spelling.TODAY)) for stack in stacks),
        )
        for entry in ordered
    ]


def splits(stacks: Sequence[StackRuns]) -> Iterator[Split]:
    """Cells and recipes that are right on one stack and wrong on another, each wrong one with its reproducer."""
    for name in dict.fromkeys(name for stack in stacks for name in stack.records):
        records = [(stack.label, stack.records[name]) for stack in stacks if name in stack.records]
        right = tuple(label for label, record in records if record.verdict is Verdict.SUPPORTED)
        wrong = tuple(
            Wrong(label, record.verdict.value, record.reason, _reproducer(record))
            for label, record in records
            if record.verdict.executed and not record.verdict.is_documented
        )
        if right and wrong:
            yield Split(name, right, wrong)
    for key in dict.fromkeys(key for stack in stacks for key in stack.rows):
        rows = [(stack.label, stack.rows[key]) for stack in stacks if key in stack.rows]
        if rows[0][1].family is not Family.GUIDE:
            continue
        right = tuple(label for label, row in rows if row.outcome is RowOutcome.HOLDS)
        wrong = tuple(
            Wrong(label, row.word, row.reason, (row.waived and row.waived.reproducer) or row_command(row))
            for label, row in rows
            if row.outcome is RowOutcome.VIOLATED
        )
        if right and wrong:
            yield Split(rows[0][1].name, right, wrong)


def _why(record: Record) -> str:
    if record.verdict is Verdict.UNAVAILABLE and record.observation.missing:
        return f"needs {', '.join(record.observation.missing)}"
    return record.reason


def _reproducer(record: Record) -> str:
    known = record.waived.reproducer if record.waived is not None else ""
    return known or reproducing_command(record.cell, record.seed)


def place_of(number: str) -> tuple[int, int]:
    """Where an entry of the guide stands: G1 before G2, claims last."""
    digits = number[1:]
    return 1 if number.startswith("C") else 0, int(digits) if digits.isdecimal() and len(digits) < 9 else 0
