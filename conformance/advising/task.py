"""What a process of a trial is told. Plain data: it is sent from a process that never imports torch."""

from dataclasses import dataclass
from pathlib import Path

from matrix.architectures import Architecture
from matrix.cell import Cell
from matrix.stack import Device


@dataclass(frozen=True)
class Task:
    """A model as it is loaded. What differs in a kernel of SDPA or a cache alone shares it."""

    architecture: Architecture
    checkpoint: str
    cell: str  # id of one that is loaded so
    device: Device
    judged: int  # tokens of the longest row that is judged
    references: str  # the folder of the truth
    own: bool = True  # whether the weights are real, and texts are what goes in
    fault: str = ""  # seeded, to see whether it is ever advised
    apart: str = ""  # of what changes the loaded model, the name: it shares it with no other

    @property
    def key(self) -> str:
        """Tells it from all others of a session."""
        return f"{self.cell} {self.fault} {self.apart}"


@dataclass(frozen=True)
class Way:
    """How the loaded model is run."""

    cell: str  # id
    by_generate: bool = False  # whether generate is left to compile the model by itself


def truth_of(folder: str, cell: Cell) -> Path:
    """Where the truth for cells like this one lies: one for each dtype and quantiser."""
    return Path(folder) / f"truth-{cell.dtype}-{cell.quantisation}.pt"
