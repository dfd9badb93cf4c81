"""What a cell loads and does, what should happen, and where that is documented: in words."""

import re
from collections.abc import Collection, Iterator, Mapping

from matrix.architectures import Architecture, Kind
from matrix.axes import DeviceMap, Padding, Quantisation, SdpaKernel, Transformation, Workload
from matrix.cell import Cell
from matrix.expectation import Outcome, Rule, expect
from matrix.oracle import QUANTISED, UNQUANTISED
from matrix.stack import Stack
from matrix.waiver import Waiver

_DEVICE_MAPS = {
    DeviceMap.NONE: "no device_map; the model is moved to the device",
    DeviceMap.GPU0: 'device_map={"": 0}',
    DeviceMap.AUTO: 'device_map="auto"',
    DeviceMap.CPU_OFFLOAD: "a device_map with the last block of each stack on the CPU and the rest on GPU 0",
}

_RELATIONS = {
    Workload.PADDING_INVARIANCE: "a padded batch, and each of its rows alone",
    Workload.BATCH_PERMUTATION: "the batch, and its rows in another order",
    Workload.CAUSALITY: "the batch, and the same with other tokens at the end: what stands before them is compared",
    Workload.STEPWISE: "one forward pass, and the last 8 tokens one by one with a cache",
    Workload.CHUNKED_PREFILL: "one forward pass, and chunks of 17 tokens with a cache",
    Workload.STATIC_CACHE: "decoding with a DynamicCache, and with a StaticCache that has slots to spare",
    Workload.PLACEMENT_INVARIANCE: "the model with its device_map, and without",
    Workload.RELOAD: "the model, and what save_pretrained and from_pretrained make of it after it has run",
}


def explain(
    cell: Cell,
    architectures: Mapping[str, Architecture],
    stack: Stack,
    rules: Collection[Rule],
    waivers: Collection[Waiver],
) -> Iterator[str]:
    """Lines of text about one cell on one stack."""
    architecture = architectures[cell.architecture]
    yield cell.id
    for axis, value in cell.axis_values():
        yield f"  {axis:14} {value}"
    yield ""
    yield "loads"
    yield f"  a fixture of model_type {architecture.model_type} ({architecture.kind}), by {architecture.auto_class}"
    yield f"  dtype={cell.dtype}, attn_implementation={cell.attention}, {_DEVICE_MAPS[cell.device_map]}"
    if cell.transformation is not Transformation.NONE:
        yield "  then model.to_bettertransformer()"
    if cell.quantisation is not Quantisation.NONE:
        yield f"  quantised by bitsandbytes to {cell.quantisation}, compute dtype {cell.dtype}"
    yield "does"
    yield f"  {_workload(cell, architecture)}"
    if cell.sdpa_kernel is not SdpaKernel.UNPINNED:
        yield f"  with scaled_dot_product_attention pinned to the {cell.sdpa_kernel} kernel"
    yield "is right if"
    reference = architecture.reference_attention
    reason = f" ({architecture.reference_reason})" if architecture.reference_reason else ""
    golden = "float64" if cell.dtype.value == "float32" else "float32"
    yield f"  golden: {reference} attention in {golden} on the cell's own weights{reason}"
    yield f"  baseline: the same in {cell.dtype}"
    if cell.workload.is_relation:
        yield "  the two runs differ by no more than two runs may err together, each of them:"
    tolerance = UNQUANTISED if cell.quantisation is Quantisation.NONE else QUANTISED
    allowed = f"max error <= {tolerance.k_max:g} x the baseline's + floor, mean error <= {tolerance.k_mean:g} x"
    yield f"  {allowed} the baseline's"
    yield "  and every submodule, kernel, module type, dtype and device is what the cell names"
    expectation = expect(cell, stack, rules)
    yield f"expected on this stack ({stack.device}): {expectation.outcome}"
    if expectation.type:
        yield f"  {expectation.type} in phase {expectation.phase}, message matching"
        yield f"    {re.sub(chr(10), ' ', expectation.message or '')}"
    if expectation.outcome is Outcome.UNAVAILABLE:
        yield f"  not here: {', '.join(expectation.missing)}"
    yield f"  documented: {expectation.source}"
    for waiver in waivers:
        if waiver.covers(cell, stack):
            yield f"waived if {waiver.verdict}: {waiver.reason}"
            yield f"  {waiver.url}" + (f", reproducer {waiver.reproducer}" if waiver.reproducer else "")


def _workload(cell: Cell, architecture: Architecture) -> str:
    batch = "a batch of four rows of equal length"
    if cell.padding is not Padding.NONE:
        batch = f"a batch of four rows of very different lengths, padded on the {cell.padding}"
    if cell.workload is Workload.GENERATE:
        return f"greedy generation of 32 tokens with cache from {batch}; each step's logits and each token are judged"
    if cell.workload is Workload.TRAIN:
        return f"a training step over {batch}, without dropout; logits and gradients are judged"
    if cell.workload.is_relation:
        return f"{_RELATIONS[cell.workload]}, over {batch}; the logits of both runs must agree"
    decoder = ", with 40 decoder tokens" if architecture.kind is Kind.ENCODER_DECODER else ""
    return f"one forward pass over {batch}{decoder}; the logits of all attended positions are judged"
