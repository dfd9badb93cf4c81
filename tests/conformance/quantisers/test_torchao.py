"""torchao's int8 weights, and what they mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.faults import Fault
from conformance.quantisers.torchao import dequantised, stored_as
from matrix.cell import parse_cell
from matrix.evidence import substitutions
from matrix.expectation import Outcome, expect, load_rules
from matrix.stack import Device
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES, honest_evidence, make_stack
from tests.rooms import must_break, must_hold

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
