"""What a cell's costs are held against: the same cell without its transformation, its quantisation or its cache."""

from dataclasses import replace

from matrix.cell import AXES, SILENT, Cell

# The first of these that a cell has is what its price is of. A model that is compiled and has a static cache is held
# against the uncompiled one with that cache: what the cache costs an uncompiled model another cell says.
PRICED = ("transformation", "quantisation", "cache")


def twin_of(cell: Cell) -> tuple[str, Cell] | None:
    """The axis that the price of a cell is of, and the cell without it; None of a cell that has none.

    A model that several processes hold has none: each of them has a clock of its own.
    """
    if not cell.workload.priced_by or cell.device_map.processes > 1:
        return None
    for axis in PRICED:
        if getattr(cell, axis) != SILENT[axis]:
            return axis, replace(cell, **{axis: AXES[axis].values[SILENT[axis]]})
    return None
