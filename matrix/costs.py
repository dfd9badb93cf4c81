"""What cells and rows cost beside each other, as published reports say: for dividing a plan, never for judging."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean

from matrix.cell import Cell
from matrix.errors import UsageError
from matrix.files import read_toml

COSTS_FILE = Path(__file__).parent / "costs.toml"
# What a cell's cost depends on, beside its architecture; its values, joined by spaces, are a key of the table.
PARTS = ("attention", "workload", "quantisation")
_NOTHING = 1e-3  # what is unavailable takes a moment all the same, and no test may weigh nothing


@dataclass(frozen=True)
class Costs:
    """Times as much as a mean cell costs.

    They are of no machine: reports of a CPU and of a GPU weigh alike in them, so that a plan is divided in the same
    way wherever that is asked.
    """

    cells: Mapping[str, float]  # by the values of PARTS
    architectures: Mapping[str, float] = field(default_factory=dict)  # a factor; 1 for what is not there
    rows: Mapping[str, float] = field(default_factory=dict)  # by family:name

    def of_cell(self, cell: Cell) -> float:
        """Of a kind that was never measured, the mean of its attention's, or of all."""
        attention, workload, quantisation = (str(getattr(cell, part)) for part in PARTS)
        cost = self.cells.get(f"{attention} {workload} {quantisation}")
        if cost is None:
            cost = _mean_of(tuple(self.cells.items()), attention)
        return max(_NOTHING, cost * self.architectures.get(cell.architecture, 1.0))

    def of_row(self, key: str) -> float:
        """Of a row that was never measured, what the mean row costs."""
        return max(_NOTHING, self.rows.get(key, fmean(self.rows.values()) if self.rows else 1.0))


@cache
def _mean_of(cells: tuple[tuple[str, float], ...], attention: str) -> float:
    alike = [cost for key, cost in cells if key.partition(" ")[0] == attention]
    return fmean(alike or [cost for _, cost in cells] or [1.0])


@cache
def load_costs() -> Costs:
    """The table that comes with the suite.

    Raises:
        UsageError: it does not parse.
    """
    try:
        return Costs(**read_toml(COSTS_FILE))
    except (UsageError, TypeError) as error:
        raise UsageError(f"{COSTS_FILE}: {error}; python -m reports costs RUN... makes it anew") from None
