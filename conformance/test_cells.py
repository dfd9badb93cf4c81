"""The matrix itself: one test a cell."""

from conformance.plugin.collection import every_cell
from conformance.plugin.measuring import Measure, settle
from matrix.cell import Cell


@every_cell
def test_cell(cell: Cell, measure: Measure) -> None:
    """Run the cell, hold it against its expectation, keep the record, and fail where it is not as documented."""
    settle(measure(cell), measure.checkpoints)
