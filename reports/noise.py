"""Time and memory of two sides: what repeated runs of one side differ by is noise, and what lies beyond it is not."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from statistics import median

from matrix.observation import Ending, Phase
from reports.document import Record, Report, backend_of

# Fewer cells say little of a backend: so many of one run a side, so many where runs were repeated.
_FEWEST, _FEWEST_REPEATED = 20, 5
# Without repeated runs. The median over the cells of a backend was within 1.25 in three runs of the pairwise plan on
# one H100 with one stack, that of flex_attention, which compiles, within 1.6.
_UNREPEATED = 1.75


class Measure(StrEnum):
    """What a cell takes."""

    TIME = "time"  # of the forward pass or generation, without loading
    MEMORY = "memory"  # the most that was in use at a time


@dataclass(frozen=True)
class Pace:
    """What the same cells of one backend take: the median over them of after over before."""

    measure: Measure
    backend: str
    cells: int
    ratio: float
    noise: float | None  # the largest such ratio of two runs of one side; None where no run was repeated
    example: str  # the cell that is the median

    def beyond(self, factor: float) -> bool:
        """Whether it lies outside the noise by that factor, or, where that is not known, outside what it once was."""
        allowed = _UNREPEATED if self.noise is None else self.noise * factor
        return not 1 / allowed <= self.ratio <= allowed


def paces(before: Sequence[Report], after: Sequence[Report]) -> Iterator[Pace]:
    """How the backends with enough cells that ran in both sides compare.

    Where both sides were measured at least three times the first run, which is the whole plan on a shared machine, is
    left aside.
    """
    repeated = len(before) > 1 and len(after) > 1
    if min(len(before), len(after)) > 2:
        before, after = before[1:], after[1:]
    records = {record.cell: record for run in before for record in run.records}
    for measure, value_of in _VALUES.items():
        old, new = ([_values(run, value_of) for run in side] for side in (before, after))
        usual_old, usual_new = (_usual(side, 2 if repeated else 1) for side in (old, new))
        by_backend: dict[str, list[str]] = {}
        for cell, record in records.items():
            if cell in usual_old and cell in usual_new:
                by_backend.setdefault(backend_of(record), []).append(cell)
        for backend, cells in by_backend.items():
            if len(cells) < (_FEWEST_REPEATED if repeated else _FEWEST):
                continue
            ratios = {cell: usual_new[cell] / usual_old[cell] for cell in cells}
            middle = median(ratios.values())
            if not 0 < middle < math.inf:  # times that no cell can have, of a file from elsewhere
                continue
            noise = _noise((old, new), cells) if repeated else None
            example = min(cells, key=lambda cell: abs(ratios[cell] - middle))
            yield Pace(measure, backend, len(cells), middle, noise, example)


def _values(run: Report, value_of: Callable[[Record], float]) -> dict[str, float]:
    found = ((record.cell, value_of(record)) for record in run.records)
    return {cell: value for cell, value in found if 0 < value < math.inf}


def _usual(side: Sequence[Mapping[str, float]], fewest: int) -> dict[str, float]:
    """The median of each cell that at least so many runs have."""
    found: dict[str, list[float]] = {}
    for run in side:
        for cell, value in run.items():
            found.setdefault(cell, []).append(value)
    return {cell: median(values) for cell, values in found.items() if len(values) >= fewest}


def _noise(sides: Sequence[Sequence[Mapping[str, float]]], cells: Sequence[str]) -> float:
    largest = 1.0
    for side in sides:
        for one, other in combinations(side, 2):
            ratios = [other[cell] / one[cell] for cell in cells if cell in one and cell in other]
            if ratios:
                middle = median(ratios)
                largest = max(largest, middle, 1 / middle)
    return largest


def _ran(record: Record) -> float:
    """Seconds of the forward pass or generation of a cell that came to its end; else 0."""
    if record.observation.ending is not Ending.COMPLETED:
        return 0.0
    seconds = record.observation.seconds
    return sum(seconds.get(phase, 0.0) for phase in (Phase.FORWARD, Phase.GENERATE))


def _held(record: Record) -> float:
    """MiB that such a cell had in use at its peak; else 0, as on a CPU, which has no counter of it."""
    if record.observation.ending is not Ending.COMPLETED:
        return 0.0
    return record.observation.peak_memory_mib or 0.0


_VALUES: Mapping[Measure, Callable[[Record], float]] = {Measure.TIME: _ran, Measure.MEMORY: _held}
