"""Which cells dials are read of (`matrix/dials.py` says what a reading means)."""

from matrix.architectures import Architecture
from matrix.axes import Attention, Dtype
from matrix.cell import SILENT, Cell
from matrix.stack import Device

_APART = 1_000_003  # seeds that people and tests choose are nearer to each other
_JUDGED = ("prefill", "continued")  # in whose logits the error bars were calibrated


def has_dials(cell: Cell, architecture: Architecture, device: Device) -> bool:
    """Whether its dials can be read, if its class has any.

    Not of layers that remember by other means, nor of what a map keeps on the CPU beside a baseline on the GPU: bars
    know the rounding of one.
    """
    return not architecture.recurrent and not (cell.device_map.on_the_cpu and device is Device.CUDA)


def dials_judge(cell: Cell, architecture: Architecture) -> bool:
    """Whether a dial that is off fails it within its error bound; else dials only explain what is out of bounds.

    In float32 the size of an error says more than any direction. Of types of the installed library, of generations, of
    runs that are held against each other and of quantised weights nobody calibrated error bars.
    """
    calibrated = cell.workload in _JUDGED and cell.quantisation == SILENT["quantisation"] and not architecture.inputs
    return calibrated and cell.dtype is not Dtype.FLOAT32


def dials_add_up(cell: Cell) -> bool:
    """Whether readings of other batches are added: not of what is compiled for each, nor of several processes, of which
    one alone judges.
    """
    compiles = cell.transformation.compiles or cell.attention is Attention.FLEX_ATTENTION
    return not compiles and cell.device_map.processes == 1


def another_batch(number: int) -> int:
    """What is added to a seed for another batch of the same kind, numbered from 1."""
    return _APART * number
