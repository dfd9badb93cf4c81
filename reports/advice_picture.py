"""The front of an advice as inline SVG: time across, memory upwards, what nothing is better than joined."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from matrix.cell import parse_cell
from reports.advice import Advice, Entry
from reports.templating import template_environment

WIDTH, HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 16, 40
_TICKS = 5
_BESIDE = 1.1  # of the extremes: no dot stands on an edge


@dataclass(frozen=True)
class Dot:
    """A configuration."""

    x: float
    y: float
    kind: str  # classes of the style sheet
    title: str


@dataclass(frozen=True)
class Tick:
    """A number on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class _Scale:
    """Logarithmic, of numbers above 0."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """Where a value stands, in pixels."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self, unit: float) -> list[Tick]:
        """Numbers at equal distances, in a unit."""
        steps = [self.low * (self.high / self.low) ** (step / (_TICKS - 1)) for step in range(_TICKS)]
        return [Tick(self.at(value), _short(value / unit)) for value in steps]


def picture(advice: Advice) -> Markup:
    """The picture, of as many rows as decide, or as what is advised was timed with; empty where nothing was timed."""
    told = [{figures.rows for figures in entry.figures} for entry in advice.entries]
    advised = [rows for rows, entry in zip(told, advice.entries, strict=True) if _kind(entry, advice) == "advised"]
    rows = next((one for one in advice.asked.wanted.rows if any(one in known for known in advised or told)), 0)
    timed = [(entry, figures) for entry in advice.entries for figures in entry.figures if figures.rows == rows]
    if not timed:
        return Markup("")
    times = [figures.whole for _, figures in timed]
    peaks = [float(max(1, figures.peak)) for _, figures in timed]
    across = _Scale(min(times) / _BESIDE, max(times) * _BESIDE, _LEFT, WIDTH - _RIGHT)
    down = _Scale(min(peaks) / _BESIDE, max(peaks) * _BESIDE, HEIGHT - _BOTTOM, _TOP)
    dots = [
        Dot(across.at(time), down.at(peak), _kind(entry, advice), f"{entry.name}: {entry.why_not or 'advised'}")
        for (entry, _), time, peak in zip(timed, times, peaks, strict=True)
    ]
    joined = sorted((dot.x, dot.y) for dot, (entry, _) in zip(dots, timed, strict=True) if entry.front)
    svg = template_environment().get_template("advice.svg.j2")
    text = svg.render(
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        bottom=_BOTTOM,
        dots=dots,
        path=" ".join(f"{x},{y}" for x, y in joined),
        x_ticks=across.ticks(1e-3),
        y_ticks=down.ticks(2**30),
        rows=rows,
    )
    return Markup(text)  # which the template has escaped


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _kind(entry: Entry, advice: Advice) -> str:
    if advice.advised is not None and entry.name == advice.advised.name:
        return "advised"
    if parse_cell(entry.cell).quantisation.stored_as:
        return "bits front" if entry.front else "bits"
    return "front" if entry.front else "other"
