"""What a cell loads and does, what should happen, and where that is documented: in words."""

import re
from collections.abc import Collection, Iterator, Mapping

from matrix.architectures import Architecture, Kind
from matrix.axes import Dtype, Padding, SdpaKernel
from matrix.cell import SILENT, Cell
from matrix.dialled import dials_add_up, dials_judge, has_dials
from matrix.dials import BATCHES, KNOBS, rule
from matrix.expectation import Outcome, Rule, expect
from matrix.oracle import AGREEING, QUANTISED, SINGLE, UNQUANTISED
from matrix.rooms import Inputs
from matrix.stack import Stack
from matrix.waiver import Waiver


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
    yield f"  dtype={cell.dtype}, attn_implementation={cell.attention}, {cell.device_map.about}"
    if cell.transformation != SILENT["transformation"]:
        yield f"  {cell.transformation.about}"
    if cell.quantisation != SILENT["quantisation"]:
        yield f"  {cell.quantisation.about}, compute dtype {cell.dtype}"
    yield "does"
    yield f"  {_workload(cell, architecture)}"
    if cell.cache != SILENT["cache"]:
        yield f"  with {cell.cache.about}"
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
    single = SINGLE if cell.dtype is Dtype.FLOAT32 else UNQUANTISED
    unquantised = AGREEING if cell.workload.is_relation else single
    tolerance = unquantised if cell.quantisation == SILENT["quantisation"] else QUANTISED
    allowed = f"max error <= {tolerance.k_max:g} x the baseline's + floor, mean error <= {tolerance.k_mean:g} x"
    yield f"  {allowed} the baseline's"
    if has_dials(cell, architecture, stack.device) and dials_judge(cell, architecture):
        bars, share = rule(1)
        least = f"{100 * share:g} % of the error"
        yield f"  no dial of attention that explains {least} is off by {bars:g} error bars and its material size"
        named = ", ".join(f"{knob.words} {knob.material:g} {knob.unit}" for knob in list(KNOBS.values())[:3])
        yield f"    ({named}, ...)"
        if dials_add_up(cell):
            bars, share = rule(BATCHES)
            least = f"{100 * share:g} % and {bars:g} bars are enough"
            yield f"    in doubt up to {BATCHES} batches are added up, of which {least}"
    yield "  and every submodule, kernel, module type, dtype and device is what the cell names"
    expectation = expect(cell, stack, rules)
    yield f"expected on this stack ({stack.device}): {expectation.outcome}"
    if expectation.type:
        yield f"  {expectation.type} in phase {expectation.phase}, message matching"
        yield f"    {re.sub(chr(10), ' ', expectation.message or '')}"
        if expectation.cause:
            yield f"  with a cause matching {expectation.cause}"
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
    decoder = architecture.kind is Kind.ENCODER_DECODER and cell.workload.inputs is Inputs.PREFILL
    more = ", with 40 decoder tokens" if decoder else ""
    return f"{cell.workload.about}, over {batch}{more}; {cell.workload.judged}"
