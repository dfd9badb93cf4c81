"""torchao's int8 weights, and what they mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.faults import Fault
from conformance.models.batches import make_batch
from conformance.models.fixtures import fixture
from conformance.models.loading import Source, load, load_reference
from conformance.models.outputs import forward
from conformance.quantisers.torchao import dequantised, load_arguments, stored_as, tinygemm_rounded
from conformance.rooms import doing
from matrix.cell import parse_cell
from matrix.evidence import substitutions
from matrix.expectation import Outcome, expect, load_rules
from matrix.stack import Device
from matrix.verdict import Verdict, judge
from tests.builders import ARCHITECTURES, honest_evidence, make_stack
from tests.rooms import must_break, must_hold, observed

CELL = "llama-{}-sdpa-torchao_int8-left-prefill"


def quantised_linear() -> torch.nn.Linear:
    quantization = pytest.importorskip("torchao.quantization")
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 48, bias=False)
    quantization.quantize_(linear, quantization.Int8WeightOnlyConfig())
    return linear


def test_it_is_unavailable_where_torchao_is_not_installed() -> None:
    cell, rules = parse_cell(CELL.format("float32")), load_rules(ARCHITECTURES)
    absent = expect(cell, make_stack(), rules)
    assert (absent.outcome, absent.missing, absent.runs) == (Outcome.UNAVAILABLE, ("torchao",), False)
    assert expect(cell, make_stack({"torchao": "0.18.0"}), rules).outcome is Outcome.SUPPORTED
    refused_later = parse_cell("bloom-float32-sdpa-torchao_int8-prefill")
    assert expect(refused_later, make_stack(), rules).missing == ("torchao",)
    assert expect(refused_later, make_stack({"torchao": "0.18.0"}), rules).outcome is Outcome.REFUSED


def test_a_weight_is_what_torchao_means() -> None:
    weight = quantised_linear().weight
    assert torch.equal(dequantised(weight), weight.dequantize())
    weight.scale[3] *= 2
    assert not torch.equal(dequantised(weight), quantised_linear().weight.dequantize())


def test_its_format_is_told_from_others() -> None:
    assert stored_as(quantised_linear()) == "Int8Tensor by row"
    assert stored_as(torch.nn.Linear(2, 2)) is None
    assert stored_as(torch.nn.ReLU()) is None


@pytest.mark.parametrize(
    "cell",
    [
        *(CELL.format(dtype) for dtype in ("float32", "float16", "bfloat16")),
        "t5-float16-eager-torchao_int8-left-generate",
        "bert-bfloat16-sdpa-torchao_int8-right-prefill",
        "opt-float16-sdpa-torchao_int8-auto-left-generate",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    pytest.importorskip("torchao")
    observation = must_hold(cell, cache)
    assert observation.evidence.quantised_formats == ("Int8Tensor by row",)
    assert observation.quantisation_cost is not None
    assert observation.quantisation_cost.kl_mean > 0


def test_its_bytes_are_counted_and_not_those_that_it_stands_for(cache: Path) -> None:
    pytest.importorskip("torchao")
    whole, quantised = (
        must_hold(cell, cache).evidence.weight_bytes
        for cell in ("llama-float32-sdpa-left-prefill", CELL.format("float32"))
    )
    assert quantised < 0.6 * whole  # embeddings and head stay as they are


FORMATS = {
    "torchao_float8": "Float8Tensor by row",
    "torchao_intx4": "IntxUnpackedToInt8Tensor by 32",
    "torchao_int8_dynamic": "Int8Tensor by row with activations",
}


@pytest.mark.parametrize("quantisation", FORMATS)
@pytest.mark.parametrize(
    "cell", ["llama-float32-sdpa-{}-left-prefill", "t5-float16-eager-{}-left-prefill", "opt-bfloat16-sdpa-{}-reload"]
)
def test_other_formats_hold_for_an_honest_model(cache: Path, cell: str, quantisation: str) -> None:
    pytest.importorskip("torchao")
    observation = must_hold(cell.format(quantisation), cache)
    assert observation.evidence.quantised_formats == (FORMATS[quantisation],)
    assert bool(observation.evidence.quantised_ops) == (quantisation == "torchao_int8_dynamic")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantisation", ["torchao_float8", "torchao_intx4"])
def test_weights_alone_are_bit_equal_with_their_dequantised_twin(cache: Path, quantisation: str, dtype: str) -> None:
    pytest.importorskip("torchao")
    cell, cpu = parse_cell(f"llama-{dtype}-eager-{quantisation}-prefill"), torch.device("cpu")
    source, batch = (
        Source(ARCHITECTURES["llama"], str(fixture(ARCHITECTURES["llama"], cache))),
        make_batch("prefill", "none", 256, 0),
    )
    with torch.no_grad():
        ours = forward(load_reference(cell, source, doing(cell), cpu, golden=False), batch)
        theirs = forward(load(cell, source, doing(cell)), batch)
    assert torch.equal(ours, theirs)


def test_a_group_that_fills_a_row_is_still_a_group() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    linear = torch.nn.Linear(32, 8)
    quantization.quantize_(linear, load_arguments("torchao_intx4", torch.float32)["quantization_config"].quant_type)
    assert stored_as(linear) == "IntxUnpackedToInt8Tensor by 32"


def test_int4_for_tinygemm_is_what_torchao_rounds_to() -> None:
    primitives = pytest.importorskip("torchao.quantization.quant_primitives")
    torch.manual_seed(0)
    weight = torch.randn(16, 80).bfloat16()
    padded = torch.nn.functional.pad(weight, (0, 1024 - 80))
    block, bounds = (1, 32), {"quant_min": 0, "quant_max": 15}
    scale, zero = primitives._choose_qparams_affine_tinygemm(
        padded, primitives.MappingType.ASYMMETRIC, block, torch.int32, **bounds
    )
    codes = primitives._quantize_affine_tinygemm(padded, block, scale, zero, torch.int32, **bounds)
    theirs = (codes.float() - 8) * scale.float().repeat_interleave(32, 1) + zero.float().repeat_interleave(32, 1)
    assert torch.equal(tinygemm_rounded(weight), theirs[:, :80])
    assert not torch.equal(tinygemm_rounded(weight), weight.float())


def test_plain_int4_has_its_earlier_code_low_and_adds_its_zero_point() -> None:
    class Int4Tensor:
        qdata = torch.tensor([[0x21, 0xF8]], dtype=torch.uint8).view(torch.int8)
        scale = torch.tensor([[2.0], [10.0]])
        zero_point = torch.tensor([[0.5], [0.0]])
        block_size = (1, 2)

    assert dequantised(Int4Tensor()).tolist() == [[2.5, 4.5, -80.0, -10.0]]


@pytest.mark.parametrize(
    ("cell", "cause"),
    [
        ("llama-float32-sdpa-torchao_int4-prefill", "Requires mslk >= 1.0.0"),
        ("llama-bfloat16-sdpa-torchao_float8_dynamic-prefill", "requires CUDA compute capability"),
        ("llama-float32-sdpa-torchao_int4_tiles-prefill", "Only bfloat16 is supported"),
        ("llama_odd-bfloat16-sdpa-torchao_intx4-prefill", "168 to be divisible by block_size at 1 dimension: 32"),
    ],
)
def test_what_cannot_run_here_says_why(cache: Path, cell: str, cause: str) -> None:
    pytest.importorskip("torchao")
    observation, _ = observed(cell, cache)
    stack = make_stack({"torchao": "0.18.0"})
    expectation = expect(parse_cell(cell), stack, load_rules(ARCHITECTURES))
    judgement = judge(parse_cell(cell), ARCHITECTURES["llama"], observation, expectation, Device.CPU)
    assert judgement.verdict is Verdict(expectation.outcome)
    assert cause in judgement.reason


def weights(model: Any) -> list[Any]:
    return [module for module in model.modules() if stored_as(module) is not None]


def row_scales_rolled(model: Any, cell: Any) -> None:
    """The scales of one weight belong to the rows before."""
    weight = weights(model)[0].weight
    weight.scale.copy_(weight.scale.roll(1, 0))


def one_row_scaled(model: Any, cell: Any) -> None:
    """One row of one weight has twice its scale."""
    weights(model)[3].weight.scale[0] *= 2


def zero_point_off(model: Any, cell: Any) -> None:
    """The codes of one weight are one too high, as if its zero point were forgotten."""
    weight = weights(model)[0].weight
    weight.qdata.copy_((weight.qdata.int() + 1).clamp(-128, 127).to(torch.int8))


def codes_of_the_neighbour(model: Any, cell: Any) -> None:
    """Two columns of one weight have each other's codes."""
    weight = weights(model)[0].weight
    weight.qdata.copy_(weight.qdata[:, [1, 0, *range(2, weight.qdata.shape[1])]])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("wrong", [row_scales_rolled, one_row_scaled, zero_point_off, codes_of_the_neighbour])
def test_a_wrong_weight_is_seen(cache: Path, wrong: Callable[[Any, Any], None], dtype: str) -> None:
    pytest.importorskip("torchao")
    must_break(CELL.format(dtype), Fault(wrong.__name__, wrong.__doc__ or "", bool, loaded=wrong), cache)


def left_unquantised(model: Any, cell: Any) -> None:
    """One weight is dequantised: the numbers only get better."""
    module = weights(model)[0]
    module.weight = torch.nn.Parameter(dequantised(module.weight).to(torch.float32), requires_grad=False)


def test_a_module_that_stays_as_it_was_is_substituted(cache: Path) -> None:
    pytest.importorskip("torchao")
    fault = Fault("left_unquantised", "a module that is skipped", bool, loaded=left_unquantised)
    assert "left unquantised" in must_break(CELL.format("float32"), fault, cache, Verdict.SUBSTITUTED)


def test_another_quantiser_in_its_place_is_substituted() -> None:
    cell = parse_cell(CELL.format("bfloat16"))
    theirs = honest_evidence(parse_cell("llama-bfloat16-sdpa-int8-left-prefill"), Device.CPU)
    found = substitutions(cell, ARCHITECTURES["llama"], theirs, Device.CPU)
    assert any("Linear8bitLt" in complaint for complaint in found)
    assert any("int8, not Int8Tensor by row" in complaint for complaint in found)
