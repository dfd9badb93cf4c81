"""What a verdict means to whoever runs the cell, and whether it got better or worse for them."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cache

from matrix.architectures import Architecture, Kind, load_architectures
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.evidence import substitutions
from matrix.rows import RowOutcome
from matrix.stack import Device
from matrix.verdict import Verdict
from reports.document import Record, RowRecord


class Standing(StrEnum):
    """Where a cell or row stands, the best first."""

    WORKS = "works"
    FALLS_BACK = "falls back"  # right, by something other than what was asked for
    RAISES = "raises"
    WRONG = "wrong"
    DIES = "dies"  # takes the process, the memory or the time with it
    ABSENT = "absent"  # needs what is not in this environment
    UNKNOWN = "unknown"  # not measured


class Move(StrEnum):
    """What a step from one standing to another is."""

    WORSE = "worse"
    BETTER = "better"
    OTHER = "other"  # neither


_OF_VERDICT: Mapping[Verdict, Standing] = {
    Verdict.SUPPORTED: Standing.WORKS,
    Verdict.REFUSED: Standing.RAISES,
    Verdict.UNAVAILABLE: Standing.ABSENT,
    Verdict.SUBSTITUTED: Standing.FALLS_BACK,
    Verdict.INACCURATE: Standing.WRONG,
    Verdict.ERROR: Standing.RAISES,
    Verdict.CRASHED: Standing.DIES,
    Verdict.TIMEOUT: Standing.DIES,
    Verdict.OUT_OF_MEMORY: Standing.DIES,
    Verdict.DEVICE_LOST: Standing.DIES,
    Verdict.NOT_BUILT: Standing.UNKNOWN,
    Verdict.FLAKY: Standing.UNKNOWN,
    Verdict.MISSING: Standing.UNKNOWN,
}
_OF_OUTCOME: Mapping[RowOutcome, Standing] = {
    RowOutcome.HOLDS: Standing.WORKS,
    RowOutcome.REFUSED: Standing.RAISES,
    RowOutcome.VIOLATED: Standing.WRONG,
    RowOutcome.UNAVAILABLE: Standing.ABSENT,
    RowOutcome.MISSING: Standing.UNKNOWN,
}
# Beyond the order of the standings: an error that is raised is better than a wrong answer but worse than a right one
# that something else gave; what fails in two ways that are equally bad is no worse in one of them.
_NEITHER = {
    frozenset({Standing.WRONG, Standing.DIES}),
    frozenset({Standing.RAISES, Standing.ABSENT}),
    frozenset({Standing.WRONG, Standing.ABSENT}),
    frozenset({Standing.DIES, Standing.ABSENT}),
}
_ORDER = list(Standing)


def standing_of(one: Record | RowRecord, device: Device) -> Standing:
    """Where it stands. A documented error that did not come is judged by what ran instead."""
    if isinstance(one, RowRecord):
        return _OF_OUTCOME[one.outcome]
    if one.verdict is Verdict.UNEXPECTED:
        return Standing.WORKS if ran_as_named(one, device) else Standing.FALLS_BACK
    return _OF_VERDICT[one.verdict]


def move(before: Standing, after: Standing) -> Move:
    """Whether a step is for the worse, among standings that are known."""
    if before is after or frozenset({before, after}) in _NEITHER:
        return Move.OTHER
    return Move.WORSE if _ORDER.index(after) > _ORDER.index(before) else Move.BETTER


def ran_as_named(record: Record, device: Device) -> bool:
    """Whether what ran is what the cell names, of a cell whose verdict does not say so."""
    try:
        cell = parse_cell(record.cell)
    except UsageError:  # of another release of the suite
        return False
    evidence = record.observation.evidence
    architecture = _architectures().get(cell.architecture)
    if architecture is None:
        # Of a type of the library, or of somebody's checkpoint: which parameters it keeps is not known here.
        architecture = Architecture(cell.architecture, evidence.model_type, Kind.DECODER, "", {})
        evidence = replace(evidence, foreign_parameters={})
    return not substitutions(cell, architecture, evidence, device)


@cache
def _architectures() -> Mapping[str, Architecture]:
    return load_architectures()
