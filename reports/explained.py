"""What the dials say of cells with wrong numbers: which of them moved by how much, that none explains it, not read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matrix.dials import Reading, cause, digits, off, percent
from matrix.verdict import Verdict, diagnosis
from reports.document import Record, Report

NOT_READ = "not read"
_NOT_FINITE = f"{NOT_READ}, for their numbers are NaN or infinite,"


@dataclass(frozen=True)
class Account:
    """Cells with wrong numbers of which the dials say the same."""

    said: str
    records: tuple[Record, ...]
    is_read: bool = True

    @property
    def line(self) -> str:
        """The same with the number of cells."""
        count = len(self.records)
        return f"{self.said} in {count:,} {'cell' if count == 1 else 'cells'}"


def why_wrong(record: Record) -> str:
    """The diagnosis of a cell with wrong numbers; empty of others, and where no dial was read."""
    return diagnosis(record.observation) if record.verdict is Verdict.INACCURATE else ""


def laid_to(record: Record) -> Reading | None:
    """The dial that wrong numbers are laid to: it explains most of the error, or that error is within its bounds."""
    readings = record.observation.readings
    is_within = all(bound.ratio <= 1 for bound in record.bounds)
    return next(iter(off(readings)), None) if is_within else cause(readings)


def accounts(records: Iterable[Record]) -> list[Account]:
    """What the dials say of those that are inaccurate: by dial, then of which none is the cause, then not read."""
    whole: dict[str, list[tuple[Record, Reading]]] = {}
    partly: dict[str, list[tuple[Record, Reading]]] = {}
    unexplained: list[Record] = []
    unread: list[Record] = []
    infinite: list[Record] = []
    for record in records:
        if record.verdict is not Verdict.INACCURATE:
            continue
        readings = record.observation.readings
        if (laid := cause(readings)) is not None:
            whole.setdefault(laid.words, []).append((record, laid))
        elif found := off(readings):
            partly.setdefault(found[0].words, []).append((record, found[0]))
        elif readings:
            unexplained.append(record)
        else:
            (unread if all(one.finite for one in record.observation.comparisons) else infinite).append(record)
    told = [*_by_dial(whole), *_by_dial(partly, ", and no dial more than half of it")]
    if unexplained:
        told.append(Account("no dial explains the error", tuple(unexplained)))
    for said, those in ((_NOT_FINITE, infinite), (NOT_READ, unread)):
        if those:
            told.append(Account(said, tuple(those), is_read=False))
    return told


def group_line(records: Sequence[Record]) -> Iterator[str]:
    """What the dials say of several cells with one cause, if they were read in any; of one its reason says it."""
    told = accounts(records)
    if len(records) > 1 and any(one.is_read for one in told):
        yield f"dials: {'; '.join(one.line for one in told)}"


def known_line(report: Report) -> Iterator[str]:
    """How many cells with known faults have wrong numbers, and of how many a dial says why, if there are any."""
    known = [record for record in report.records if record.waived and record.verdict is Verdict.INACCURATE]
    if known:
        explained = sum(cause(record.observation.readings) is not None for record in known)
        unread = sum(not record.observation.readings for record in known)
        cells = "1 cell" if len(known) == 1 else f"{len(known):,} cells"
        yield (
            f"known faults: {cells} with wrong numbers; a dial explains {explained:,}, none explains "
            f"{len(known) - explained - unread:,}, {unread:,} {NOT_READ} (python -m reports validate --faults REPORT)"
        )


def _by_dial(found: Mapping[str, Sequence[tuple[Record, Reading]]], more: str = "") -> Iterator[Account]:
    """The dial of the most cells first."""
    for pairs in sorted(found.values(), key=len, reverse=True):
        yield Account(f"{_spread([one for _, one in pairs])}{more}", tuple(record for record, _ in pairs))


def _spread(readings: Sequence[Reading]) -> str:
    """One dial in one cell or several: from where to where it reads, and what it explains."""
    if len(readings) == 1:
        return f"{readings[0].said}: explains {readings[0].share} of the error"
    shown = min(digits(one.bar, one.value) for one in readings)  # of the least sure of them
    values = _range([f"{value:+.{shown}f}" for value in sorted(one.value for one in readings)])
    shares = _range([percent(share) for share in sorted(one.explains for one in readings)])
    return f"{readings[0].words} {values} {readings[0].unit}: explains {shares} of the error"


def _range(ordered: Sequence[str]) -> str:
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
