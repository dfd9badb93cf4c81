"""Which cells dials are read of (`matrix/dials.py` says what a reading means)."""

from matrix.architectures import Architecture
from matrix.cell import SILENT, Cell
from matrix.stack import Device

_WORKLOADS = ("prefill", "continued")  # whose logits they are read in


def has_dials(cell: Cell, architecture: Architecture, device: Device) -> bool:
    """Whether its dials can be read, if its class answers through SDPA at all.

    Not in other workloads, of quantised weights, of layers that remember by other means, and of types that nobody
    calibrated bars for. Nor of what a map keeps on the CPU beside a baseline on the GPU: bars know the rounding of one.
    """
    if cell.device_map.on_the_cpu and device is Device.CUDA:
        return False
    plain = cell.workload in _WORKLOADS and cell.quantisation == SILENT["quantisation"]
    return plain and not (architecture.recurrent or architecture.inputs)
