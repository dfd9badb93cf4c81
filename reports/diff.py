"""Two runs held against each other: what came, what went, what has another verdict, and what drifted within one."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from matrix.oracle import nan_last
from reports.document import Record, Report, RowRecord
from reports.markdown import literal

# Two runs of one stack on one machine stay within these, however noisy it is.
_RATIO_FACTOR, _RATIO_STEP = 1.25, 0.1
_TIME_FACTOR, _TIME_STEP = 2.0, 0.5  # seconds
_MEMORY_FACTOR, _MEMORY_STEP = 1.25, 16.0  # MiB
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Kind(StrEnum):
    """How a cell or row differs."""

    WORSE = "worse"  # it fails a run now, and did not
    CHANGED = "changed"  # another verdict
    DRIFTED = "drifted"  # the same verdict by other numbers, kernels or words
    ADDED = "added"
    DELETED = "deleted"


@dataclass(frozen=True)
class Difference:
    """One cell or row that is not what it was."""

    kind: Kind
    name: str
    found: tuple[str, ...]  # what differs, in words with both values


@dataclass(frozen=True)
class Diff:
    """All that differs between two runs."""

    versions: tuple[tuple[str, str, str], ...]  # library or device, before, after
    differences: tuple[Difference, ...]  # the worst kind first


def compare(before: Report, after: Report) -> Diff:
    """What became of every cell and row of two runs."""
    found = [
        *_differences({r.cell: r for r in before.records}, {r.cell: r for r in after.records}),
        *_differences({r.key: r for r in before.rows}, {r.key: r for r in after.rows}),
    ]
    order = list(Kind)
    return Diff(_versions(before, after), tuple(sorted(found, key=lambda one: order.index(one.kind))))


def text_lines(diff: Diff) -> Iterator[str]:
    """For a terminal: versions, counts, then each difference."""
    yield from (f"{name}: {old} -> {new}" for name, old, new in diff.versions)
    counts = [f"{sum(one.kind is kind for one in diff.differences):,} {kind}" for kind in Kind]
    yield ", ".join(counts)
    for one in diff.differences:
        yield f"{one.kind.upper()} {one.name}"
        yield from (f"    {line}" for line in one.found)


def markdown_lines(diff: Diff) -> Iterator[str]:
    """For a pull request."""
    yield from ("## What changed", "")
    yield from (f"- {literal(f'{name}: {old} -> {new}')}" for name, old, new in diff.versions)
    if not diff.differences:
        yield from ("", "No cell and no row differs.")
        return
    yield from ("", "| | cell or row | what differs |", "|---|---|---|")
    for one in diff.differences:
        yield f"| {one.kind} | {literal(one.name)} | {'<br>'.join(map(literal, one.found))} |"


def _versions(before: Report, after: Report) -> tuple[tuple[str, str, str], ...]:
    old, new = (_named(report) for report in (before, after))
    names = dict.fromkeys([*old, *new])
    return tuple(
        (name, old.get(name, "none"), new.get(name, "none")) for name in names if old.get(name) != new.get(name)
    )


def _named(report: Report) -> dict[str, str]:
    stack = report.run.stack
    device = ", ".join(gpu.name for gpu in stack.gpus) or stack.device.value
    found = {"device": device, "driver": stack.driver, "python": report.run.python, **stack.versions}
    return {name: version for name, version in found.items() if version}


def _differences(
    before: Mapping[str, Record | RowRecord], after: Mapping[str, Record | RowRecord]
) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            yield Difference(Kind.ADDED, name, (_word(new),))
        elif new is None and old is not None:
            yield Difference(Kind.DELETED, name, (_word(old),))
        elif old is not None and new is not None:
            if _word(old) != _word(new):
                kind = Kind.WORSE if new.fails and not old.fails else Kind.CHANGED
                said = (f"{_word(old)} -> {_word(new)}", *([new.reason] if new.reason else []))
                yield Difference(kind, name, said)
            elif isinstance(old, Record) and isinstance(new, Record) and (drifts := tuple(_drifts(old, new))):
                yield Difference(Kind.DRIFTED, name, drifts)


def _word(one: Record | RowRecord) -> str:
    word = one.verdict.value if isinstance(one, Record) else one.word
    return f"{word}, known" if one.waived is not None else word


def _drifts(old: Record, new: Record) -> Iterator[str]:
    was, now = (max((bound.ratio for bound in one.bounds), key=nan_last, default=0.0) for one in (old, new))
    if _beyond(was, now, _RATIO_FACTOR, _RATIO_STEP):
        yield f"worst ratio of error to bound: {was:.2f} -> {now:.2f}"
    if old.kernels != new.kernels:
        yield f"kernels: {', '.join(old.kernels) or 'none'} -> {', '.join(new.kernels) or 'none'}"
    failures = [one.observation.failure for one in (old, new)]
    said = [f"{failure.type}: {failure.message}" if failure else "" for failure in failures]
    if _NUMBER.sub("#", said[0]) != _NUMBER.sub("#", said[1]):
        yield f"error: {said[0] or 'none'} -> {said[1] or 'none'}"
    was, now = (sum(one.observation.seconds.values()) for one in (old, new))
    if _beyond(was, now, _TIME_FACTOR, _TIME_STEP):
        yield f"time: {was:.2f} -> {now:.2f} s"
    was, now = (one.observation.peak_memory_mib or 0.0 for one in (old, new))
    if _beyond(was, now, _MEMORY_FACTOR, _MEMORY_STEP):
        yield f"memory: {was:,.0f} -> {now:,.0f} MiB"


def _beyond(old: float, new: float, factor: float, step: float) -> bool:
    """Whether two values differ by more than noise: by a factor, and by so much that the factor means something."""
    if math.isnan(old) or math.isnan(new):
        return math.isnan(old) is not math.isnan(new)
    low, high = min(old, new), max(old, new)
    return high > factor * low and high - low > step
