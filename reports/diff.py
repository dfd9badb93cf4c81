"""Two runs held against each other: what came, what went, what has another verdict, and what drifted within one."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from matrix.observation import Ending, Phase
from matrix.rows import RowOutcome
from matrix.verdict import Verdict
from reports.causes import cause_of
from reports.document import Point, Record, Report, RowRecord, backend_of
from reports.markdown import literal
from reports.views import worst_ratio

# What differs by less is noise. Three runs of the pairwise plan on one H100 with one stack had the same verdicts,
# ratios, kernels and messages; a cell took up to 30 s or 33 times longer (what is loaded and compiled first depends on
# how cells meet workers) and up to 123 MiB more (workspaces of cuBLAS). The median over the cells of a backend was
# within 1.25, that of flex_attention, which compiles, within 1.6.
_RATIO_FACTOR, _RATIO_STEP = 1.25, 0.1
_TIME_FACTOR, _TIME_STEP = 3.0, 30.0  # seconds, of a cell that shares its machine with others
_MEMORY_FACTOR, _MEMORY_STEP = 1.25, 128.0  # MiB
_PACE_FACTOR, _PACE_OF_FEWEST = 1.75, 20  # cells
_POINT_FACTOR = 1.25  # of a time that was measured alone on its device
_POINT_STEP = 16.0  # MiB
_FIGURE_FACTOR, _FIGURE_STEP = 1.25, 0.01
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
    cause: str = ""  # of what is wrong now, where it fails


@dataclass(frozen=True)
class Pace:
    """How long the same cells of one backend took: the median of after over before, without loading."""

    backend: str
    cells: int
    ratio: float
    beyond_noise: bool


@dataclass(frozen=True)
class Diff:
    """All that differs between two runs."""

    versions: tuple[tuple[str, str, str], ...]  # library or device, before, after
    differences: tuple[Difference, ...]  # the worst kind first
    paces: tuple[Pace, ...] = ()  # of the backends with enough cells that ran in both

    @property
    def counts(self) -> Counter[Kind]:
        """How many cells and rows differ in which way."""
        return Counter(one.kind for one in self.differences)


@dataclass(frozen=True)
class Group:
    """Differences of one cause, or that are told in the same words but for their numbers."""

    kind: Kind
    differences: tuple[Difference, ...]

    @property
    def first(self) -> Difference:
        """The one that speaks for all."""
        return self.differences[0]


def compare(before: Report, after: Report) -> Diff:
    """What became of every cell and row of two runs."""
    found = [
        *_differences({r.cell: r for r in before.records}, {r.cell: r for r in after.records}),
        *_differences({r.key: r for r in before.rows}, {r.key: r for r in after.rows}),
    ]
    order = list(Kind)
    differences = tuple(sorted(found, key=lambda one: order.index(one.kind)))
    return Diff(_versions(before, after), differences, tuple(_paces(before, after)))


def groups(diff: Diff) -> list[Group]:
    """The differences by kind, and among each kind the most frequent first."""
    found: dict[tuple[Kind, tuple[str, ...]], list[Difference]] = {}
    for one in diff.differences:
        # Of a cell that fails what it was before, and why it fails now.
        told = (one.found[0], one.cause) if one.cause else tuple(map(_without_numbers, one.found))
        found.setdefault((one.kind, told), []).append(one)
    order = list(Kind)
    gathered = [Group(kind, tuple(same)) for (kind, _), same in found.items()]
    return sorted(gathered, key=lambda group: (order.index(group.kind), -len(group.differences)))


def transitions(before: Report, after: Report) -> Counter[tuple[str, str]]:
    """How many of the cells that both runs have went from which verdict to which."""
    verdicts = {record.cell: word_of(record) for record in before.records}
    both = (record for record in after.records if record.cell in verdicts)
    return Counter((verdicts[record.cell], word_of(record)) for record in both)


def text_lines(diff: Diff) -> Iterator[str]:
    """For a terminal: versions, counts, then the differences by cause."""
    yield from (f"{name}: {old} -> {new}" for name, old, new in diff.versions)
    counts = diff.counts
    yield ", ".join(f"{counts[kind]:,} {kind}" for kind in Kind)
    if diff.paces:
        yield f"time of the same cells, after / before: {', '.join(map(pace_words, diff.paces))}"
    for group in groups(diff):
        first, others = group.first, [one.name for one in group.differences[1:]]
        yield f"{group.kind.upper()} {first.name}{f' and {len(others)} more' if others else ''}"
        yield from (f"    {line}" for line in first.found)
        if others:
            yield f"    the same: {', '.join(others)}"


def markdown_lines(diff: Diff) -> Iterator[str]:
    """For a pull request."""
    yield from ("## What changed", "")
    yield from (f"- {literal(f'{name}: {old} -> {new}')}" for name, old, new in diff.versions)
    if diff.paces:
        yield f"- time of the same cells, after / before: {literal(', '.join(map(pace_words, diff.paces)))}"
    if not diff.differences:
        yield from ("", "No cell and no row differs.")
        return
    yield from ("", "| | cell or row | what differs |", "|---|---|---|")
    for group in groups(diff):
        first, more = group.first, len(group.differences) - 1
        named = f"{first.name} and {more} more" if more else first.name
        yield f"| {group.kind} | {literal(named)} | {'<br>'.join(map(literal, first.found))} |"


def pace_words(pace: Pace) -> str:
    """A pace in a few words."""
    return f"{pace.backend} {pace.ratio:.2f}{' (beyond noise)' if pace.beyond_noise else ''}"


def _paces(before: Report, after: Report) -> Iterator[Pace]:
    ran = {record.cell: _ran(record) for record in before.records}
    ratios: dict[str, list[float]] = {}
    for record in after.records:
        was, now = ran.get(record.cell, 0.0), _ran(record)
        if was > 0 and now > 0:
            ratios.setdefault(backend_of(record), []).append(now / was)
    for backend, found in ratios.items():
        if len(found) >= _PACE_OF_FEWEST:
            ratio = median(found)
            yield Pace(backend, len(found), ratio, not 1 / _PACE_FACTOR <= ratio <= _PACE_FACTOR)


def _ran(record: Record) -> float:
    """Seconds of the forward pass or generation of a cell that came to its end; else 0."""
    if record.observation.ending is not Ending.COMPLETED:
        return 0.0
    seconds = record.observation.seconds
    return sum(seconds.get(phase, 0.0) for phase in (Phase.FORWARD, Phase.GENERATE))


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
            yield Difference(Kind.ADDED, name, (word_of(new),))
        elif new is None and old is not None:
            yield Difference(Kind.DELETED, name, (word_of(old),))
        elif old is not None and new is not None:
            if word_of(old) != word_of(new) or old.fails is not new.fails:
                kind = Kind.WORSE if new.fails and not old.fails else Kind.CHANGED
                cause = cause_of(new) if isinstance(new, Record) and not _is_right(new) else ""
                yield Difference(kind, name, (f"{word_of(old)} -> {word_of(new)}", *_why(old, new)), cause)
            elif drifts := tuple(_drifts(old, new)):
                yield Difference(Kind.DRIFTED, name, drifts)


def _why(old: Record | RowRecord, new: Record | RowRecord) -> Iterator[str]:
    # What is right now needs no reason; what was wrong with it is what changed.
    if new.reason and not _is_right(new):
        yield new.reason
    elif old.reason and not _is_right(old):
        yield f"was: {old.reason}"


def _is_right(one: Record | RowRecord) -> bool:
    return one.verdict is Verdict.SUPPORTED if isinstance(one, Record) else one.outcome is RowOutcome.HOLDS


def word_of(one: Record | RowRecord) -> str:
    """The verdict of a cell or the outcome of a row, and whether it is a known fault."""
    return f"{one.word}, known" if one.waived is not None else one.word


def _drifts(old: Record | RowRecord, new: Record | RowRecord) -> Iterator[str]:
    if isinstance(old, Record) and isinstance(new, Record):
        yield from _drifts_of_cell(old, new)
    elif isinstance(old, RowRecord) and isinstance(new, RowRecord):
        yield from _drifts_of_row(old, new)


def _drifts_of_cell(old: Record, new: Record) -> Iterator[str]:
    worst, now_worst = worst_ratio(old), worst_ratio(new)
    if worst is not None and now_worst is not None and _beyond(worst, now_worst, _RATIO_FACTOR, _RATIO_STEP):
        yield f"worst ratio of error to bound: {worst:.2f} -> {now_worst:.2f}"
    if old.kernels != new.kernels:
        yield f"kernels: {', '.join(old.kernels) or 'none'} -> {', '.join(new.kernels) or 'none'}"
    failures = [one.observation.failure for one in (old, new)]
    said = [f"{failure.type}: {failure.message}" if failure else "" for failure in failures]
    if _without_numbers(said[0]) != _without_numbers(said[1]):
        yield f"error: {said[0] or 'none'} -> {said[1] or 'none'}"
    was, now = (sum(one.observation.seconds.values()) for one in (old, new))
    if _beyond(was, now, _TIME_FACTOR, _TIME_STEP):
        yield f"time: {was:.2f} -> {now:.2f} s"
    yield from (
        f"memory: {change}"
        for change in _memory(old.observation.peak_memory_mib, new.observation.peak_memory_mib, _MEMORY_STEP)
    )


def _drifts_of_row(old: RowRecord, new: RowRecord) -> Iterator[str]:
    # The reason of a claim is its figures in words.
    if not (old.figures or new.figures) and _without_numbers(old.reason) != _without_numbers(new.reason):
        yield f"found: {old.reason or 'nothing'} -> {new.reason or 'nothing'}"
    for name in old.figures.keys() & new.figures.keys():
        was, now = old.figures[name], new.figures[name]
        if _beyond(abs(was), abs(now), _FIGURE_FACTOR, _FIGURE_STEP) or was * now < 0:
            yield f"{name}: {was:.4g} -> {now:.4g}"
    points = {_measured(point): point for point in new.points}
    for point in old.points:
        if other := points.get(_measured(point)):
            what = f"{point.subject}, {point.backend}, {point.workload} of {point.batch} x {point.sequence} tokens"
            yield from (f"{what}: {line}" for line in _drifts_of_point(point, other))


def _drifts_of_point(old: Point, new: Point) -> Iterator[str]:
    if old.failure != new.failure:
        yield f"{old.failure or 'ran'} -> {new.failure or 'ran'}"
        return
    if old.kernels != new.kernels:
        yield f"kernels {', '.join(old.kernels) or 'none'} -> {', '.join(new.kernels) or 'none'}"
    if old.seconds and new.seconds:
        was, now = median(old.seconds), median(new.seconds)
        if _beyond(was, now, _POINT_FACTOR, 0.0):
            yield f"{was:.4g} -> {now:.4g} s"
    yield from _memory(old.peak_mib, new.peak_mib, _POINT_STEP)


def _memory(old: float | None, new: float | None, step: float) -> Iterator[str]:
    # A CPU has no counter of it.
    if old is not None and new is not None and _beyond(old, new, _MEMORY_FACTOR, step):
        yield f"{old:,.0f} -> {new:,.0f} MiB"


def _measured(point: Point) -> tuple[object, ...]:
    return point.subject, point.backend, point.workload, point.batch, point.sequence, point.padding


def _without_numbers(text: str) -> str:
    return _NUMBER.sub("#", text)


def _beyond(old: float, new: float, factor: float, step: float) -> bool:
    """Whether two values differ by more than noise: by a factor, and by so much that the factor means something."""
    if math.isnan(old) or math.isnan(new):
        return math.isnan(old) is not math.isnan(new)
    low, high = min(old, new), max(old, new)
    return high > factor * low and high - low > step
