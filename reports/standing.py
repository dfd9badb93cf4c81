"""What a verdict means to whoever runs the cell, and whether it got better or worse for them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cache

from matrix.architectures import Architecture, Kind, load_architectures
from matrix.axes import Dtype
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
# More than so large a share of the parameters is not what a library keeps by design, such as routers and norms.
_KEPT_AT_MOST = 0.1
# In these words a device or a compiler fails, and no library refuses: after most of them nothing runs any more.
_FAULTS = re.compile(
    r"\bCUDA error\b|\bdevice-side assert|\billegal memory access|\bmisaligned address"
    r"|\bC(?:UBLAS|UDNN|USPARSE|USOLVER)_STATUS_|\bINTERNAL ASSERT FAILED|\binternal error\b",
    re.IGNORECASE,
)
# Beyond the order of the standings. Who was told no and is silently given something else is as badly served as who
# lived with that and is told no; and what fails in two ways that are equally bad is no worse in one of them.
_WORSE_EITHER_WAY = {frozenset({Standing.FALLS_BACK, Standing.RAISES})}
_NEITHER = {
    frozenset({Standing.WRONG, Standing.DIES}),
    frozenset({Standing.RAISES, Standing.ABSENT}),
    frozenset({Standing.WRONG, Standing.ABSENT}),
    frozenset({Standing.DIES, Standing.ABSENT}),
}
_ORDER = list(Standing)


def standing_of(one: Record | RowRecord, device: Device) -> Standing:
    """Where it stands.

    A documented error that did not come is judged by what ran instead; what is right with a few parameters in float32,
    which a library keeps so by design, works; and an error of the device takes with it what runs after it.
    """
    if isinstance(one, RowRecord):
        return _OF_OUTCOME[one.outcome]
    if one.verdict is Verdict.UNEXPECTED:
        return Standing.WORKS if ran_as_named(one, device) else Standing.FALLS_BACK
    if one.verdict is Verdict.SUBSTITUTED and _only_keeps_float32(one):
        return Standing.WORKS
    if one.verdict is Verdict.ERROR and _is_a_fault(one):
        return Standing.DIES
    return _OF_VERDICT[one.verdict]


def move(before: Standing, after: Standing) -> Move:
    """Whether a step is for the worse, among standings that are known."""
    if before is after or frozenset({before, after}) in _NEITHER:
        return Move.OTHER
    if frozenset({before, after}) in _WORSE_EITHER_WAY:
        return Move.WORSE
    return Move.WORSE if _ORDER.index(after) > _ORDER.index(before) else Move.BETTER


def ran_as_named(record: Record, device: Device) -> bool:
    """Whether what ran is what the cell names, but for parameters in float32."""
    try:
        cell = parse_cell(record.cell)
    except UsageError:  # of another release of the suite
        return False
    evidence = record.observation.evidence
    foreign = {dtype: names for dtype, names in evidence.foreign_parameters.items() if dtype != Dtype.FLOAT32}
    evidence = replace(evidence, foreign_parameters=foreign)
    # Of a type of the library, or of somebody's checkpoint, no more is known here.
    unknown = Architecture(cell.architecture, evidence.model_type, Kind.DECODER, "", {})
    architecture = known_architectures().get(cell.architecture, unknown)
    return not substitutions(cell, architecture, evidence, device)


def _only_keeps_float32(record: Record) -> bool:
    """Whether all that is another than it names are a few parameters in float32, and the others are as it names."""
    said = record.reason.split("; ")
    counts = record.observation.evidence.parameter_dtypes
    few = 0 < counts.get(Dtype.FLOAT32, 0) <= _KEPT_AT_MOST * sum(counts.values())
    return few and all(part.startswith(f"parameters in {Dtype.FLOAT32}, not ") for part in said)


def _is_a_fault(record: Record) -> bool:
    """Whether what was raised is a fault of a device or compiler, whatever was documented."""
    failure = record.observation.failure
    return failure is not None and _FAULTS.search(f"{failure.type}: {failure.message}") is not None


@cache
def known_architectures() -> Mapping[str, Architecture]:
    """Those of the suite."""
    return load_architectures()
