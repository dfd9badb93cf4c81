"""How far the judged cells stay below their bounds: histograms as inline SVG, each with its numbers beside it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from matrix.axes import Dtype
from matrix.cell import AXES
from matrix.oracle import nan_last
from reports.document import Record, backend_of

# What a bound's name ends with, in the order of the rows; those of consequences (regret, score) come after.
_RULES = ("max", "mean")
BINS = 20

_BIN = 5  # pixels
_HEIGHT = 24
_BOUND = BINS * _BIN
_BEYOND = _BOUND + 6
_WIDTH = _BEYOND + 14
_AXIS_HEIGHT = 16


@dataclass(frozen=True)
class Histogram:
    """Ratios of error to bound: those that keep it in equal bins from 0 to 1, and those beyond."""

    within: tuple[int, ...]
    beyond: int


@dataclass(frozen=True)
class Series:
    """The ratios of one rule in one dtype, from the lowest to the highest, NaN above all."""

    dtype: str
    ratios: tuple[float, ...]
    known: int  # of those beyond the bound: how many a waiver excuses

    @property
    def histogram(self) -> Histogram:
        """The ratios, binned."""
        return histogram(self.ratios)

    def quantile(self, share: float) -> float:
        """The lowest ratio that this share of the cells does not exceed."""
        return self.ratios[max(math.ceil(share * len(self.ratios)) - 1, 0)]


@dataclass(frozen=True)
class Panel:
    """One backend: by rule, a series for each dtype."""

    backend: str
    rules: dict[str, list[Series]] = field(default_factory=dict)


@dataclass(frozen=True)
class Closeness:
    """What one sentence can say of all judged cells, each by the bound that it comes closest to."""

    judged: int
    beyond: int
    known: int
    median: float
    almost_all: float  # 99 % of those within


def bin_of(ratio: float) -> int | None:
    """The bin of a ratio, or None for one that exceeds its bound or is not a number."""
    if not ratio <= 1:
        return None
    # The last bin is closed on both sides: the bound may be met.
    return max(min(int(ratio * BINS), BINS - 1), 0) if ratio > 0 else 0


def histogram(ratios: Iterable[float]) -> Histogram:
    """Each ratio in exactly one bin."""
    within, beyond = [0] * BINS, 0
    for ratio in ratios:
        place = bin_of(ratio)
        if place is None:
            beyond += 1
        else:
            within[place] += 1
    return Histogram(tuple(within), beyond)


def panels(records: Iterable[Record], backends: Sequence[str]) -> list[Panel]:
    """One for each of these backends that has a judged cell, in their order."""
    found: dict[str, dict[str, dict[str, list[tuple[float, bool]]]]] = {}
    for record in records:
        for rule, ratio in worst_by_rule(record).items():
            series = found.setdefault(backend_of(record), {}).setdefault(rule, {})
            series.setdefault(record.axes["dtype"], []).append((ratio, record.waived is not None))
    return [
        Panel(
            backend,
            {
                rule: [_series(dtype, found[backend][rule][dtype]) for dtype in _ordered(found[backend][rule])]
                for rule in sorted(found[backend], key=lambda rule: (*_RULES, rule).index(rule))
            },
        )
        for backend in backends
        if backend in found
    ]


def worst_by_rule(record: Record) -> dict[str, float]:
    """For each rule that judged the cell, its highest ratio of error to bound."""
    found: dict[str, float] = {}
    for bound in record.bounds:
        rule = bound.name.rpartition(" ")[2]
        found[rule] = max(found.get(rule, 0.0), bound.ratio, key=nan_last)
    return found


def is_relation(record: Record) -> bool:
    """Whether two runs of the cell were held against each other; such bounds are twice as wide."""
    return record.axes["workload"] in AXES["workload"].families["relation"]


def is_direct(record: Record) -> bool:
    """Whether the cell was held against the truth."""
    return not is_relation(record)


def closeness(records: Iterable[Record]) -> Closeness | None:
    """All judged cells in a few numbers; None if there is none."""
    judged = [(max(found.values(), key=nan_last), record) for record in records if (found := worst_by_rule(record))]
    if not judged:
        return None
    beyond = [record for ratio, record in judged if bin_of(ratio) is None]
    within = Series("", _in_order(ratio for ratio, _ in judged if bin_of(ratio) is not None), 0)
    return Closeness(
        judged=len(judged),
        beyond=len(beyond),
        known=sum(record.waived is not None for record in beyond),
        median=within.quantile(0.5) if within.ratios else math.nan,
        almost_all=within.quantile(0.99) if within.ratios else math.nan,
    )


def ratio_text(ratio: float) -> str:
    """A ratio with the digits that a reader can use."""
    if not math.isfinite(ratio):
        return str(ratio)
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def strip(drawn: Histogram) -> Markup:
    """The histogram as a strip: bars from 0 to 1, the bound as a line, and one bar for what lies beyond it."""
    highest = max(*drawn.within, drawn.beyond, 1)
    bars = [_bar("within", place * _BIN, _BIN - 1, count, highest) for place, count in enumerate(drawn.within) if count]
    if drawn.beyond:
        bars.append(_bar("beyond", _BEYOND, _WIDTH - _BEYOND, drawn.beyond, highest))
    return _drawing(
        _HEIGHT,
        f'<rect class="ground" y="{_HEIGHT - 1}" width="{_WIDTH}" height="1"></rect>{"".join(bars)}'
        f'<rect class="edge" x="{_BOUND + 1}" width="2" height="{_HEIGHT}"></rect>',
    )


def axis() -> Markup:
    """What stands above a column of strips."""
    ticks = ((0, "start", "0"), (_BOUND // 2, "middle", "0.5"), (_BOUND + 1, "end", "1"), (_WIDTH, "end", "&gt;1"))
    texts = "".join(f'<text x="{x}" y="12" text-anchor="{anchor}">{text}</text>' for x, anchor, text in ticks)
    return _drawing(_AXIS_HEIGHT, texts)


def size_bar(share: float) -> Markup:
    """A share of a whole as a bar."""
    width = round(max(0.0, min(share, 1.0)) * _BOUND, 1)
    return Markup(
        f'<svg class="share" width="{_BOUND}" height="8" viewBox="0 0 {_BOUND} 8" aria-hidden="true">'
        f'<rect class="ground" width="{_BOUND}" height="8"></rect>'
        f'<rect class="within" width="{width}" height="8"></rect></svg>'
    )


def _series(dtype: str, found: list[tuple[float, bool]]) -> Series:
    known = sum(waived for ratio, waived in found if bin_of(ratio) is None)
    return Series(dtype, _in_order(ratio for ratio, _ in found), known)


def _in_order(ratios: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted(ratios, key=lambda ratio: (nan_last(ratio), math.isnan(ratio))))


def _ordered(dtypes: Iterable[str]) -> list[str]:
    names = [dtype.value for dtype in Dtype]
    return sorted(dtypes, key=lambda name: names.index(name) if name in names else len(names))


def _bar(kind: str, x: int, width: int, count: int, highest: int) -> str:
    # However few they are, they can be seen.
    height = max(round((_HEIGHT - 2) * count / highest), 2)
    return f'<rect class="{kind}" x="{x}" y="{_HEIGHT - 1 - height}" width="{width}" height="{height}"></rect>'


def _drawing(height: int, inside: str) -> Markup:
    # Nothing in here comes from a report but counts. Readers of the page's text have the numbers beside it.
    return Markup(
        f'<svg class="strip" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" aria-hidden="true">'
        f"{inside}</svg>"
    )
