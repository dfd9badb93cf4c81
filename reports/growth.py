"""How the time of a run grows with the number of its cells: several runs of one plan as a table and as a picture."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import linear_regression

from matrix.errors import UsageError
from reports.benchmarks import Tick
from reports.document import Report
from reports.html import title_of
from reports.spent import spent_by
from reports.templating import template_environment

_WIDTH, _HEIGHT = 300, 200  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 34, 40
_TICKS = 4  # at most, beside zero


@dataclass(frozen=True)
class Size:
    """A run of so many cells, by how many processes; times in seconds."""

    cells: int
    processes: int
    wall: float  # from the command to the end of the last cell
    first: float  # from the command to the end of the first

    @property
    def after(self) -> float:
        """From the end of the first cell to that of the last."""
        return self.wall - self.first

    @property
    def rate(self) -> float:
        """Cells a second in that time."""
        return (self.cells - 1) / self.after


@dataclass(frozen=True)
class Growth:
    """Runs of one plan on one stack, the smallest first."""

    title: str
    sizes: tuple[Size, ...]

    @property
    def exponent(self) -> float:
        """The power of the cells as which the time after the first of them grows, by least squares: 1 is linear."""
        cells, seconds = zip(*((math.log(size.cells), math.log(size.after)) for size in self.sizes), strict=True)
        return linear_regression(cells, seconds).slope

    def linear(self, cells: int) -> float:
        """Seconds for so many cells if each took what one of the largest run took, after as long a start."""
        largest = self.sizes[-1]
        return largest.first + (cells - 1) / largest.rate


def growth_of(reports: Iterable[Report]) -> Growth:
    """The times of these runs.

    Raises:
        UsageError: they can't be held against each other: one does not say when its cells ran or has a single one, two
            are of different stacks or plans, or all are of one size.
    """
    sizes: dict[int, Size] = {}
    titles: set[str] = set()
    for report in reports:
        title = title_of(report)
        titles.add(title)
        spent = spent_by(report)
        if spent is None:
            raise UsageError(f"{title}: a run does not say when its cells ran: reports before schema 2.0 don't")
        if not 0 < spent.first < spent.wall:
            raise UsageError(f"{title}: a run of {spent.cells} cells, of which none came after the first, has no rate")
        sizes[spent.cells] = Size(spent.cells, len(spent.workers), spent.wall, spent.first)
    if len(titles) > 1:
        raise UsageError(f"{' and '.join(sorted(titles))}: runs that differ in more than the number of their cells")
    if len(sizes) < 2:
        raise UsageError("growth needs at least two runs that differ in the number of their cells")
    return Growth(titles.pop(), tuple(size for _, size in sorted(sizes.items())))


def growth_lines(growth: Growth) -> Iterator[str]:
    """As a table, and in one sentence whether time grows as the number of cells does."""
    yield growth.title
    times = f"{'seconds':>10}{'if linear':>11}{'first cell':>12}{'cells a second after it':>25}"
    yield f"{'cells':>8}{'processes':>11}{times}"
    for size in growth.sizes:
        times = f"{size.wall:>10.1f}{growth.linear(size.cells):>11.1f}{size.first:>12.1f}{size.rate:>25.2f}"
        yield f"{size.cells:>8,}{size.processes:>11}{times}"
    yield f"seconds after the first cell grow as cells to the power of {growth.exponent:.2f}; 1 is linear"


@dataclass(frozen=True)
class _Panel:
    """One of the small pictures; places in its own pixels, rightwards and downwards."""

    title: str
    dots: tuple[tuple[float, float], ...]
    guide: tuple[tuple[float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]

    @property
    def path(self) -> str:
        """As `points` of a polyline."""
        return " ".join(f"{x},{y}" for x, y in self.dots)

    @property
    def guide_path(self) -> str:
        """The same of the guide."""
        return " ".join(f"{x},{y}" for x, y in self.guide)


def growth_svg(growth: Growth) -> str:
    """The picture: seconds in all beside a straight line, seconds to the first cell, cells a second after it."""
    environment = template_environment()
    sizes = growth.sizes
    panels = (
        _panel("seconds in all", [(one.cells, one.wall) for one in sizes], growth),
        _panel("seconds to the first cell", [(one.cells, one.first) for one in sizes]),
        _panel("cells a second after it", [(one.cells, one.rate) for one in sizes]),
    )
    return environment.get_template("growth.svg.j2").render(
        title=growth.title, panels=panels, width=_WIDTH, height=_HEIGHT, left=_LEFT, right=_RIGHT, bottom=_BOTTOM
    )


def _panel(title: str, points: Sequence[tuple[int, float]], straight: Growth | None = None) -> _Panel:
    ends = [(cells, straight.linear(cells)) for cells, _ in (points[0], points[-1])] if straight else []
    most = points[-1][0]
    highest = max(up for _, up in (*points, *ends))

    def across(cells: float) -> float:
        return round(_LEFT + cells / most * (_WIDTH - _LEFT - _RIGHT), 1)

    def down(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / highest * (_HEIGHT - _BOTTOM - _TOP), 1)

    return _Panel(
        title,
        tuple((across(cells), down(value)) for cells, value in points),
        tuple((across(cells), down(value)) for cells, value in ends),
        tuple(Tick(across(at), f"{at:,.6g}") for at in _round_numbers(most)),
        tuple(Tick(down(at), f"{at:,.6g}") for at in _round_numbers(highest)),
    )


def _round_numbers(highest: float) -> list[float]:
    """Zero and evenly spaced round numbers up to the highest."""
    decade = 10.0 ** math.floor(math.log10(highest / _TICKS))
    step = next(step * decade for step in (1, 2, 5, 10) if highest / (step * decade) <= _TICKS)
    return [number * step for number in range(int(highest / step) + 1)]
