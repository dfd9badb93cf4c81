"""Combinations that cannot exist. What a library *refuses* is no constraint: it is a cell with an expectation."""

from matrix.architectures import Architecture, Kind
from matrix.axes import Attention, Padding, SdpaKernel, Workload
from matrix.cell import Cell


def why_impossible(cell: Cell, architecture: Architecture) -> str | None:
    """The reason why no such cell can be built, or None."""
    if cell.sdpa_kernel is not SdpaKernel.UNPINNED and cell.attention is not Attention.SDPA:
        return "an SDPA kernel can be pinned only where attention goes through SDPA"
    if cell.workload is Workload.GENERATE and architecture.kind is Kind.ENCODER:
        return "an encoder does not generate"
    if cell.workload is Workload.GENERATE and cell.padding is Padding.RIGHT and architecture.kind is Kind.DECODER:
        return "generation after right padding is not defined for a decoder: transformers asks for left padding"
    return None
