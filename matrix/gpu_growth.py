"""What cells leave on a GPU beside what torch knows of: told from the libraries that come in with the first of a kind.

Code is loaded onto a GPU when it first runs, and some of it asks for a workspace for good. That is nobody's leak:
growth counts where all that the cell needs (its architecture and its attention in that dtype, its quantiser, its
workload and so on) ran to the end in the process before, in whichever cells.
"""

from dataclasses import dataclass, field

from matrix.axes import Attention
from matrix.cell import Cell

NOTICED_MIB = 64.0  # of one cell: less is a kernel that none before it had run
LIMIT_MIB = 512.0  # of a process, its cells together
_ON_ITS_OWN = ("quantisation", "transformation", "device_map", "cache", "workload")  # axes that bring code of their own


@dataclass
class GpuGrowth:
    """That of one process."""

    mib: float = 0.0  # of all cells that count, those included that gave something back
    cells: int = 0  # how many count
    _seen: set[object] = field(default_factory=set)

    def note(self, cell: Cell, mib: float, *, completed: bool) -> float:
        """Take note of what came in the course of a cell; what of it is to be said, 0 if next to nothing."""
        kinds = _kinds(cell)
        counts = kinds <= self._seen
        if completed:  # else nobody knows what it had still to load
            self._seen |= kinds
        if not counts:
            return 0.0
        self.mib += mib
        self.cells += 1
        return mib if mib >= NOTICED_MIB else 0.0


def _kinds(cell: Cell) -> set[object]:
    """What decides which code a cell loads. What is compiled is compiled for each architecture and batch."""
    if cell.attention is Attention.FLEX_ATTENTION:
        return {cell.id}
    return {
        ("architecture", cell.architecture, cell.dtype),
        ("attention", cell.attention, cell.sdpa_kernel, cell.dtype),
        *((axis, str(getattr(cell, axis))) for axis in _ON_ITS_OWN),
    }
