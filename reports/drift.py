"""What differs in cells and rows that stand where they stood: kernels, accuracy, messages, figures."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from statistics import median

from matrix.axes import Attention, Dtype, SdpaKernel
from matrix.cell import SILENT
from matrix.dials import Reading, moved
from matrix.oracle import nan_last
from matrix.rows import RowOutcome
from matrix.verdict import Verdict
from reports.differences import Aspect, Bands, Difference, Kind
from reports.document import Point, Record, RowRecord, Run, backend_of
from reports.side import Side, fault_of, name_of, said_by, word_of
from reports.standing import Standing, standing_of
from reports.views import worst_ratio
from reports.words import of_any_model, words_of

# Of a measurement that had its device to itself, between runs.
_POINT_FACTOR, _POINT_STEP = 1.25, 16.0  # MiB
_FIGURE_FACTOR, _FIGURE_STEP = 1.25, 0.01
# By whether some came and whether some went.
_HOW_MANY = {(True, False): "more", (False, True): "fewer", (True, True): "other"}


def drifts(before: Side, after: Side, name: str, bands: Bands) -> Iterator[Difference]:
    """All of it that is beyond noise: what any run of the one side has in common with any of the other is none."""
    old, new = before.measured[name][0], after.measured[name][0]
    standing = standing_of(new, after.device)
    if standing in (Standing.RAISES, Standing.ABSENT) and _is_reworded(before, after, name):
        yield reworded(before, after, old, new)
    if isinstance(old, Record) and isinstance(new, Record):
        if standing is Standing.WORKS:
            yield from _of_kernels(before, after, old, new)
            yield from _of_dtype(after, old, new)
            yield from _of_accuracy(before, after, new, bands)
        if standing in (Standing.WORKS, Standing.WRONG):
            yield from _of_dials(before, after, new)
    elif isinstance(old, RowRecord) and isinstance(new, RowRecord):
        yield from _of_figures(after, old, new)
        yield from _of_points(before, after, old, new, bands)


def reworded(before: Side, after: Side, old: Record | RowRecord, new: Record | RowRecord) -> Difference:
    """An error that says something else now: somebody's `except` may not know it any more."""
    was, now = said_by(old), said_by(new)
    words = [now if words_of(was) == words_of(now) else f"{was or 'nothing'} -> {now or 'nothing'}"]
    if word_of(old) != word_of(new):
        words.insert(0, f"{word_of(old)} -> {word_of(new)}")
    causes = what_is_said(before, after, old, new)
    return Difference(Kind.CHANGE, Aspect.MESSAGE, name_of(new), tuple(words), causes, after.command(new))


def what_is_said(before: Side, after: Side, old: Record | RowRecord, new: Record | RowRecord) -> tuple[str, ...]:
    """What is said now and nobody said before, or what nobody says any more: whichever explains more cells.

    An error that stood behind another one all the time explains nothing.
    """
    was, now = (of_any_model(said_by(one) or one.reason) for one in (old, new))
    if words_of(was) == words_of(now):
        return (f"documented no more, though it comes as before: {now}" if new.fails else f"as before: {now}",)
    causes = []
    if words_of(now) not in before.sayings:
        causes.append(f"now {now}")
    if words_of(was) not in after.sayings:
        causes.append(f"no longer {was}")
    return tuple(causes) or (f"no longer {was}, but {now}",)


def _is_reworded(before: Side, after: Side, name: str) -> bool:
    old, new = before.measured[name][0], after.measured[name][0]
    if isinstance(new, RowRecord):
        # Why a row cannot be reached is what it says of itself, and no library's words.
        return new.outcome is RowOutcome.REFUSED and not _same(before, after, name, lambda row: words_of(row.reason))
    documented_no_more = new.fails and not old.fails
    return documented_no_more or not _same(before, after, name, _said_where)


def _said_where(one: Record | RowRecord) -> object:
    failure = one.observation.failure if isinstance(one, Record) else None
    return words_of(said_by(one)), failure.phase if failure else None


def _same(before: Side, after: Side, name: str, value_of: Callable[[Record | RowRecord], object]) -> bool:
    """Whether a run of either side agree."""
    return not {*map(value_of, before.measured[name])}.isdisjoint(map(value_of, after.measured[name]))


def _of_kernels(before: Side, after: Side, old: Record, new: Record) -> Iterator[Difference]:
    if _same(before, after, new.cell, lambda one: frozenset(one.kernels) if isinstance(one, Record) else None):
        return
    words = f"kernels: {', '.join(old.kernels) or 'none'} -> {', '.join(new.kernels) or 'none'}"
    # Whoever names no kernel leaves the choice to torch; who names one, or a package, does not.
    torch_chooses = new.axes["sdpa_kernel"] == SdpaKernel.UNPINNED and (
        new.axes["attention"] == Attention.SDPA or new.axes["transformation"] != SILENT["transformation"]
    )
    kind, aspect = (Kind.CHANGE, Aspect.KERNELS) if torch_chooses else (Kind.REGRESSION, Aspect.FALLBACK)
    yield Difference(kind, aspect, new.cell, (words,), (f"{backend_of(new)}, {words}",), after.command(new))


def _of_dtype(after: Side, old: Record, new: Record) -> Iterator[Difference]:
    kept, keeps = (set(one.observation.evidence.foreign_parameters.get(Dtype.FLOAT32, ())) for one in (old, new))
    if kept == keeps:
        return
    differs = {"in float32 now": keeps - kept, "no longer in float32": kept - keeps}
    found = [f"{words}: {', '.join(sorted(names))}" for words, names in differs.items() if names]
    if word_of(old) != word_of(new):
        found.insert(0, f"{word_of(old)} -> {word_of(new)}")
    kind, aspect = Kind.CHANGE, Aspect.DTYPE
    cause = (
        f"{_HOW_MANY[bool(keeps - kept), bool(kept - keeps)]} parameters of {new.axes['architecture']} stay in float32"
    )
    if old.waived is not None and new.verdict is Verdict.SUPPORTED:
        kind, aspect, cause = Kind.IMPROVEMENT, Aspect.VERDICT, f"no longer: {fault_of(old.waived)}"
    yield Difference(kind, aspect, new.cell, tuple(found), (cause,), after.command(new))


def _of_accuracy(before: Side, after: Side, new: Record, bands: Bands) -> Iterator[Difference]:
    if bounds_of(before.whole.run) != bounds_of(after.whole.run):
        return  # a ratio to the bounds of another suite is another number
    was, now = (
        sorted(nan_last(ratio) for one in side.records(new.cell) if (ratio := worst_ratio(one)) is not None)
        for side in (before, after)
    )
    if not was or not now:
        return
    worse, better = now[0] > was[-1], now[-1] < was[0]
    pair = (was[-1], now[0]) if worse else (was[0], now[-1])  # what is nearest of what the runs say
    if not (worse or better) or not beyond(*pair, bands.accuracy_factor, bands.accuracy_step):
        return
    kind, where = (Kind.REGRESSION, "nearer to") if worse else (Kind.IMPROVEMENT, "farther from")
    words = f"worst ratio of error to bound: {pair[0]:.2f} -> {pair[1]:.2f}"
    causes = (
        f"{new.axes['architecture']} {where} its bounds",
        f"{backend_of(new)} in {new.axes['dtype']} {where} its bounds",
    )
    yield Difference(kind, Aspect.ACCURACY, new.cell, (words,), causes, after.command(new))


def _of_dials(before: Side, after: Side, new: Record) -> Iterator[Difference]:
    """A difference for each dial, so that those of one dial and backend are one cause."""
    for dial, words in dial_moves(before, after, new.cell):
        cause = f"{backend_of(new)}: {dial} moved"
        yield Difference(Kind.CHANGE, Aspect.DIALS, new.cell, (words,), (cause,), after.command(new))


def dial_moves(before: Side, after: Side, name: str) -> Iterator[tuple[str, str]]:
    """The dials of a cell that read otherwise in every run of the second side than in any of the first, in words."""
    old, new = (_readings(side, name) for side in (before, after))
    for key, stood in old.items():
        pairs = list(product(stood, new.get(key, ())))
        if pairs and all(moved(was, now) for was, now in pairs):
            was, now = min(pairs, key=lambda pair: abs(pair[1].value - pair[0].value))
            yield was.words, f"{was.said} -> {now.said.removeprefix(now.words).strip()}"


def _readings(side: Side, name: str) -> dict[tuple[str | int, ...], list[Reading]]:
    """What the runs of a side read, by comparison, dial and call; dials that nobody can tell apart are one."""
    found: dict[tuple[str | int, ...], list[Reading]] = {}
    for record in side.records(name):
        for comparison in record.observation.comparisons:
            for one in comparison.readings:
                found.setdefault((comparison.name, one.call, one.dial, *one.also), []).append(one)
    return found


def bounds_of(run: Run) -> dict[str, object]:
    """The factors by which a run judged errors."""
    return {name: value for name, value in run if name.startswith("k_m")}


def _of_figures(after: Side, old: RowRecord, new: RowRecord) -> Iterator[Difference]:
    for name in sorted(old.figures.keys() & new.figures.keys()):
        was, now = old.figures[name], new.figures[name]
        turned = was * now < 0 and abs(was - now) > _FIGURE_STEP
        if turned or beyond(abs(was), abs(now), _FIGURE_FACTOR, _FIGURE_STEP):
            words, cause = f"{name}: {was:.4g} -> {now:.4g}", f"{new.name}: {name}"
            yield Difference(Kind.CHANGE, Aspect.FIGURES, new.key, (words,), (cause,), after.command(new))


def _of_points(before: Side, after: Side, old: RowRecord, new: RowRecord, bands: Bands) -> Iterator[Difference]:
    points = {_measured(point): point for point in new.points}
    for point in old.points:
        other = points.get(_measured(point))
        if other is None:
            continue
        what = f"{point.subject}, {point.backend}, {point.workload} of {point.batch} x {point.sequence} tokens"
        for kind, aspect, words in _of_point(point, other, _spread_of_time((before, after), new.key, point), bands):
            cause = f"{point.subject}, {point.backend}: {aspect}"
            yield Difference(kind, aspect, new.key, (f"{what}: {words}",), (cause,), after.command(new))


def _of_point(old: Point, new: Point, noise: float | None, bands: Bands) -> Iterator[tuple[Kind, Aspect, str]]:
    if bool(old.failure) is not bool(new.failure) or words_of(old.failure) != words_of(new.failure):
        kinds = {True: Kind.CHANGE, False: Kind.REGRESSION if new.failure else Kind.IMPROVEMENT}
        kind = kinds[bool(old.failure) and bool(new.failure)]
        yield kind, Aspect.VERDICT, f"{old.failure or 'ran'} -> {new.failure or 'ran'}"
        return
    if set(old.kernels) != set(new.kernels):
        words = f"kernels {', '.join(old.kernels) or 'none'} -> {', '.join(new.kernels) or 'none'}"
        yield Kind.CHANGE, Aspect.KERNELS, words
    if old.seconds and new.seconds:
        was, now = median(old.seconds), median(new.seconds)
        factor = _POINT_FACTOR if noise is None else noise * bands.time_factor
        if beyond(was, now, factor, 0.0):
            # Of one run a side nobody knows what noise is.
            kind = Kind.CHANGE if noise is None else _kind_of_more(was, now)
            yield kind, Aspect.TIME, f"{was:.4g} -> {now:.4g} s"
    # A CPU has no counter of it.
    held, holds = old.peak_mib, new.peak_mib
    if held is not None and holds is not None and beyond(held, holds, _POINT_FACTOR, _POINT_STEP):
        yield _kind_of_more(held, holds), Aspect.MEMORY, f"{held:,.0f} -> {holds:,.0f} MiB"


def _kind_of_more(was: float, now: float) -> Kind:
    return Kind.REGRESSION if now > was else Kind.IMPROVEMENT


def _spread_of_time(sides: Sequence[Side], row: str, point: Point) -> float | None:
    """By how much the runs of a side differ in one measurement; None where no side measured it twice."""
    spreads = []
    for side in sides:
        times = [
            median(other.seconds)
            for one in side.measured[row]
            if isinstance(one, RowRecord)
            for other in one.points
            if _measured(other) == _measured(point) and other.seconds
        ]
        if len(times) > 1 and min(times) > 0:
            spreads.append(max(times) / min(times))
    return max(spreads, default=None)


def _measured(point: Point) -> tuple[object, ...]:
    return point.subject, point.backend, point.workload, point.batch, point.sequence, point.padding


def beyond(old: float, new: float, factor: float, step: float) -> bool:
    """Whether two values differ by a factor, and by so much that the factor means something."""
    if math.isnan(old) or math.isnan(new):
        return math.isnan(old) is not math.isnan(new)
    low, high = min(old, new), max(old, new)
    return high > factor * low and high - low > step
