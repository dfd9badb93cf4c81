"""What the kernels compute: each dial as the cells of a backend read it together, with an error bar around 0."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from matrix import oracle
from matrix.dials import KNOBS, Reading, digits
from reports.dials import SURE
from reports.document import Record, backend_of

_MIDDLE, _HEIGHT = 40, 12  # pixels


@dataclass(frozen=True)
class Pooled:
    """What a backend does to a dial in one dtype, of the cells in which it is not off."""

    value: float  # in the dial's unit
    bar: float  # one standard error
    readings: int

    @property
    def sure(self) -> float:
        """How far from the value the truth lies at most, 95 times in 100."""
        return SURE * self.bar


@dataclass(frozen=True)
class Row:
    """A dial in one dtype, backend by backend, drawn to one scale."""

    dial: str
    dtype: str
    unit: str
    by_backend: dict[str, Pooled]

    @property
    def extent(self) -> float:
        """The largest number that any of its bars reaches."""
        return max(abs(one.value) + one.sure for one in self.by_backend.values())


@dataclass(frozen=True)
class Outlier:
    """A cell in which a dial is off, as itself: it would say nothing of the others."""

    cell: str
    said: str


def rows(records: Iterable[Record], backends: Sequence[str]) -> list[Row]:
    """By dtype and dial, of the backends in their order; empty where nothing was read.

    Of cells that are within bounds: of others dials only say why.
    """
    found: dict[tuple[str, str], dict[str, set[tuple[float, float]]]] = {}
    for record, one in _readings(records):
        if not one.is_off and not any(oracle.logits_are_off(each) for each in record.observation.comparisons):
            by_backend = found.setdefault((record.axes["dtype"], one.dial), {})
            # The same cell under another device map reads the same, digit by digit, and is no second witness.
            by_backend.setdefault(backend_of(record), set()).add((one.value, one.bar))
    names = list(KNOBS)
    return [
        Row(
            KNOBS[dial].words,
            dtype,
            KNOBS[dial].unit,
            {name: pooled(by_backend[name]) for name in backends if name in by_backend},
        )
        for (dtype, dial), by_backend in sorted(found.items(), key=lambda one: (one[0][0], names.index(one[0][1])))
    ]


def outliers(records: Iterable[Record]) -> list[Outlier]:
    """In the order of the plan."""
    return [Outlier(record.cell, one.said) for record, one in _readings(records) if one.is_off]


def pooled(readings: Iterable[tuple[float, float]]) -> Pooled:
    """The mean of values weighted by their error bars, and its own.

    Where the values scatter more than their bars say, that of the mean is wider by Birge's ratio, the root of
    chi-squared a degree of freedom (Birge, Phys. Rev. 40, 207, 1932).
    """
    found = list(readings)
    weights = [1 / bar**2 for _, bar in found]
    value = sum(weight * value for weight, (value, _) in zip(weights, found, strict=True)) / sum(weights)
    scatter = sum(weight * (one - value) ** 2 for weight, (one, _) in zip(weights, found, strict=True))
    birge = math.sqrt(scatter / (len(found) - 1)) if len(found) > 1 else 1.0
    return Pooled(value, max(1.0, birge) / math.sqrt(sum(weights)), len(found))


def whisker(one: Pooled, extent: float) -> Markup:
    """A line from one end of the error bar to the other and a mark at the value; 0 stands in the middle."""

    def at(number: float) -> float:
        return round(_MIDDLE * (1 + number / extent), 1) if extent else float(_MIDDLE)

    low, high = at(one.value - one.sure), at(one.value + one.sure)
    middle = _HEIGHT / 2
    return Markup(
        f'<svg class="strip" width="{2 * _MIDDLE}" height="{_HEIGHT}" viewBox="0 0 {2 * _MIDDLE} {_HEIGHT}" '
        f'aria-hidden="true"><rect class="ground" x="{_MIDDLE}" width="1" height="{_HEIGHT}"></rect>'
        f'<rect class="within" x="{low}" y="{middle - 1}" width="{max(1.0, round(high - low, 1))}" height="2"></rect>'
        f'<rect class="edge" x="{at(one.value) - 1}" y="{middle - 3}" width="2" height="6"></rect></svg>'
    )


def number_text(one: Pooled) -> str:
    """`+0.012 ± 0.004`, with two digits of the error bar."""
    shown = digits(one.sure, one.value)
    return f"{one.value:+.{shown}f} ± {one.sure:.{shown}f}"


def _readings(records: Iterable[Record]) -> Iterator[tuple[Record, Reading]]:
    """Those of dials that this release knows, with error bars; a reading of 0 ± 0 is of a run equal to baseline."""
    for record in records:
        for comparison in record.observation.comparisons:
            for one in comparison.readings:
                if one.dial in KNOBS and math.isfinite(one.value) and 1e-100 < one.bar < 1e100:
                    yield record, one
