"""Combinations that cannot exist. What a library *refuses* is no constraint: it is a cell with an expectation."""

from matrix.architectures import Architecture, Kind
from matrix.axes import Attention, DeviceMap, Padding, Quantisation, SdpaKernel, Transformation, Workload
from matrix.cell import Cell


def why_impossible(cell: Cell, architecture: Architecture) -> str | None:
    """The reason why no such cell can be built, or None."""
    transformed = cell.transformation is not Transformation.NONE
    through_sdpa = cell.attention is Attention.SDPA or (transformed and cell.attention is Attention.EAGER)
    if cell.sdpa_kernel is not SdpaKernel.UNPINNED and not through_sdpa:
        return "an SDPA kernel can be pinned only where attention goes through SDPA"
    if cell.workload is Workload.GENERATE and architecture.kind is Kind.ENCODER:
        return "an encoder does not generate"
    if cell.workload is Workload.GENERATE and cell.padding is Padding.RIGHT and architecture.kind is Kind.DECODER:
        return "generation after right padding is not defined for a decoder: transformers asks for left padding"
    if cell.workload is Workload.TRAIN and cell.quantisation is not Quantisation.NONE:
        return "quantised weights have no gradients: what trains beside them is an adapter"
    if transformed and (cell.attention not in _TRANSFORMED or cell.workload not in _WITH_TRANSFORMATION):
        return "BetterTransformer is tried in place of eager attention, and beside what it refuses: SDPA and FA2"
    return _why_no_relation(cell, architecture) if cell.workload.is_relation else None


def _why_no_relation(cell: Cell, architecture: Architecture) -> str | None:
    if cell.workload in _NEEDS_A_DECODER and architecture.kind is Kind.ENCODER:
        return "an encoder has no cache and sees both ways"
    if cell.workload is Workload.PADDING_INVARIANCE:
        if cell.padding is Padding.NONE:
            return "without padding there is nothing to be invariant to"
    elif cell.padding is Padding.RIGHT:
        return "relations other than padding_invariance pad on the left, where caches go wrong, or not at all"
    if (cell.device_map is DeviceMap.NONE) is (cell.workload is Workload.PLACEMENT_INVARIANCE):
        return "a device_map is what placement_invariance is about, and only that"
    return None


_TRANSFORMED = (Attention.EAGER, Attention.SDPA, Attention.FLASH_ATTENTION_2)
_WITH_TRANSFORMATION = (Workload.PREFILL, Workload.GENERATE, Workload.TRAIN, Workload.RELOAD)
_NEEDS_A_DECODER = (Workload.CAUSALITY, Workload.STEPWISE, Workload.CHUNKED_PREFILL, Workload.STATIC_CACHE)
