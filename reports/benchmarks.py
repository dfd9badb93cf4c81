"""What the claims of the guide were judged by, as plots: their geometry, and the same numbers as tables.

The template writes the SVG, so that every name in a report is escaped like any other text.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from matrix.claims import peak_of, rate_of, seconds_of
from reports.document import Point, RowRecord

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 34
LOOKS = 8  # how many lines the style can tell apart
_KNOWN = (
    "eager",
    "flash_attention_2",
    "sdpa",
    "sdpa (flash)",
    "sdpa (mem_efficient)",
    "sdpa (cudnn)",
    "sdpa (math)",
    "flex_attention",
)
_BAR = 150  # pixels
# Fewer make no curve: they are in the other plots and in the tables.
_LEAST = 3
# What lies outside is no measurement of a model, and would press all others into a corner.
_SMALLEST, _LARGEST = 1e-9, 1e12
_Y_TICKS = 5


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One backend: a line through its points, in one of the looks of the style."""

    backend: str
    look: int
    dots: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """As `points` of a polyline."""
        return " ".join(f"{x},{y}" for x, y in self.dots)


@dataclass(frozen=True)
class Table:
    """The numbers of a plot: a row for each place on its x axis, a column for each backend."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """One small panel."""

    title: str
    x_label: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    table: Table


@dataclass(frozen=True)
class Bar:
    """One rate, as long as it is high."""

    label: str
    look: int
    width: float
    text: str


@dataclass(frozen=True)
class _Axis:
    """What is drawn from left to right, what is the same within a panel, and how both are called."""

    label: str
    value: Callable[[Point], float]
    text: Callable[[float], str]
    title: Callable[[Point], str]
    same: Callable[[Point], tuple[object, ...]]
    wanted: Callable[[Point], bool]
    logarithmic: bool = True


_BY_SEQUENCE = _Axis(
    "sequence length",
    lambda point: point.sequence,
    lambda value: f"{value:.0f}",
    lambda point: f"{point.subject}, batch {point.batch}",
    lambda point: (point.subject, point.batch),
    lambda point: point.padding == 0,
)
_BY_BATCH = _Axis(
    "batch size",
    lambda point: point.batch,
    lambda value: f"{value:.0f}",
    lambda point: f"{point.subject}, length {point.sequence}",
    lambda point: (point.subject, point.sequence),
    lambda point: point.padding == 0,
)
_BY_PADDING = _Axis(
    "share of padding",
    lambda point: point.padding,
    lambda value: f"{100 * value:.0f} %",
    lambda point: f"{point.subject}, batch {point.batch}, length {point.sequence}",
    lambda point: (point.subject, point.batch, point.sequence),
    lambda point: 0 <= point.padding <= 1,
    logarithmic=False,
)


def all_points(rows: Iterable[RowRecord]) -> list[Point]:
    """Those of all claims, each place once: claims share points, and one may have had no time for what another had."""
    found: dict[tuple[object, ...], Point] = {}
    for point in (point for row in rows for point in row.points):
        if not (0 < point.batch < _LARGEST and 0 <= point.sequence < _LARGEST and math.isfinite(point.padding)):
            continue
        key = (point.subject, point.backend, point.workload, point.batch, point.sequence, point.padding)
        if key not in found or found[key].failure:
            found[key] = point
    return list(found.values())


def plots(points: Sequence[Point]) -> dict[str, list[Plot]]:
    """The panels by what they show; nothing for what was not measured."""
    prefills = [point for point in points if point.workload == "prefill"]
    found = {
        "Prefill time by sequence length": _panels(prefills, _BY_SEQUENCE, seconds_of, seconds_text),
        "Peak activation memory by sequence length": _panels(prefills, _BY_SEQUENCE, peak_of, mib_text),
        "Prefill time by batch size": _panels(prefills, _BY_BATCH, seconds_of, seconds_text),
        "Prefill time by share of padding": _panels(prefills, _BY_PADDING, seconds_of, seconds_text),
    }
    return {title: panels for title, panels in found.items() if panels}


def rates(points: Iterable[Point]) -> dict[str, list[Bar]]:
    """By model, tokens per second of its generations, each against the highest of that model."""
    groups: dict[str, list[tuple[Point, float]]] = {}
    for point in points:
        rate = rate_of(point)
        if point.workload == "generate" and rate is not None and _SMALLEST <= rate <= _LARGEST:
            groups.setdefault(point.subject, []).append((point, rate))
    return {
        subject: [
            Bar(
                f"{point.backend}, batch {point.batch}, {100 * point.padding:.0f} % padding",
                look_of(point.backend, index),
                round(_BAR * rate / max(rate for _, rate in group), 1),
                f"{rate:,.0f} tokens/s" if rate >= 10 else f"{rate:.2g} tokens/s",
            )
            for index, (point, rate) in enumerate(group)
        ]
        for subject, group in groups.items()
    }


def look_of(backend: str, index: int) -> int:
    """The look of a backend: its own if it is known, so that it is the same in all panels."""
    return _KNOWN.index(backend) if backend in _KNOWN else index % LOOKS


def seconds_text(seconds: float) -> str:
    """A time with the digits that a reader can use."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def mib_text(mib: float) -> str:
    """An amount of memory with the digits that a reader can use."""
    return f"{mib / 1024:.3g} GiB" if mib >= 1000 else f"{mib:.3g} MiB"


def figure_text(value: float) -> str:
    """A figure with the digits that a reader can use."""
    return f"{value:.4g}"


def _panels(
    points: Iterable[Point], axis: _Axis, value: Callable[[Point], float | None], text: Callable[[float], str]
) -> list[Plot]:
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        if axis.wanted(point) and (not axis.logarithmic or axis.value(point) > 0):
            groups.setdefault(axis.same(point), []).append(point)
    drawn = (_plot(group, axis, value, text) for group in groups.values())
    return [plot for plot in drawn if plot is not None]


def _plot(
    points: list[Point], axis: _Axis, value: Callable[[Point], float | None], text: Callable[[float], str]
) -> Plot | None:
    measured: dict[str, dict[float, float]] = {}
    for point in points:
        found = value(point)
        if found is not None and _SMALLEST <= found <= _LARGEST:
            measured.setdefault(point.backend, {})[axis.value(point)] = found
    places = sorted({place for line in measured.values() for place in line})
    if len(places) < _LEAST:
        return None
    across = _scale(places[0], places[-1], LEFT, WIDTH - RIGHT, logarithmic=axis.logarithmic)
    heights = [height for line in measured.values() for height in line.values()]
    low, high = min(heights) / 1.2, max(heights) * 1.2
    up = _scale(low, high, HEIGHT - BOTTOM, TOP, logarithmic=True)
    lines = tuple(
        Line(backend, look_of(backend, index), tuple((across(x), up(line[x])) for x in sorted(line)))
        for index, (backend, line) in enumerate(measured.items())
    )
    return Plot(
        axis.title(points[0]),
        axis.label,
        lines,
        tuple(Tick(across(place), axis.text(place)) for place in places),
        tuple(Tick(up(at), text(at)) for at in _ticks(low, high)),
        _table(points, axis, value, text),
    )


def _table(
    points: list[Point], axis: _Axis, value: Callable[[Point], float | None], text: Callable[[float], str]
) -> Table:
    backends = list(dict.fromkeys(point.backend for point in points))
    cells: dict[tuple[float, str], str] = {}
    for point in points:
        found = value(point)
        cells[axis.value(point), point.backend] = text(found) if found is not None else point.failure
    places = sorted({place for place, _ in cells})
    rows = ((axis.text(place), *(cells.get((place, backend), "") for backend in backends)) for place in places)
    return Table((axis.label, *backends), tuple(rows))


def _scale(low: float, high: float, start: float, end: float, *, logarithmic: bool) -> Callable[[float], float]:
    if logarithmic:
        low, high = math.log(low), math.log(high)
    width = high - low or 1.0

    def place(value: float) -> float:
        return round(start + ((math.log(value) if logarithmic else value) - low) / width * (end - start), 1)

    return place


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two others, evenly spread on a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    found = [step for step in steps if low <= step <= high]
    # Where hardly one lies between them, the ends themselves.
    return found[:: math.ceil(len(found) / _Y_TICKS)] if len(found) > 1 else [low, high]
