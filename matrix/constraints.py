"""Combinations that cannot exist. What a library *refuses* is no constraint: it is a cell with an expectation."""

from matrix.architectures import Architecture
from matrix.axes import Attention, Padding, SdpaKernel
from matrix.cell import SILENT, Cell


def why_impossible(cell: Cell, architecture: Architecture) -> str | None:
    """The reason why no such cell can be built, or None. The most is said by its rooms."""
    through_sdpa = cell.attention is Attention.SDPA or (
        cell.transformation.through_sdpa and cell.attention is Attention.EAGER
    )
    if cell.sdpa_kernel is not SdpaKernel.UNPINNED and not through_sdpa:
        return "an SDPA kernel can be pinned only where attention goes through SDPA"
    if cell.cache != SILENT["cache"] and not cell.workload.decodes:
        return "only what generates has a choice of cache"
    for value in (cell.workload, cell.dtype, cell.attention, cell.quantisation, cell.padding):
        if value in architecture.cannot:
            return architecture.cannot[value]
    if cell.padding is not Padding.NONE and (reason := architecture.cannot_pad(cell.padding)) is not None:
        return reason
    for room in cell.rooms:
        if room.impossible is not None and (reason := room.impossible(cell, architecture)) is not None:
            return reason
    return None
