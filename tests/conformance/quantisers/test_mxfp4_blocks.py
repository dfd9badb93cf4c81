"""MXFP4: what blocks and powers of two mean, in whose order, and what is said where they are dequantised."""

from pathlib import Path

import pytest
import torch

from conformance.quantisers.mxfp4_blocks import mxfp4_packed, mxfp4_unpacked
from matrix.cell import parse_cell
from matrix.constraints import why_impossible
from matrix.evidence import substitutions
from matrix.observation import Evidence
from matrix.stack import Device
from tests.builders import ARCHITECTURES, honest_evidence
from tests.rooms import must_hold

CELL = "gpt_oss-bfloat16-eager-mxfp4-left-prefill"
SAID = "MXFP4 quantization requires Triton: please install it. We will default to dequantizing the model to bf16."


def experts() -> torch.Tensor:
    weight = torch.randn(3, 64, 24, generator=torch.Generator().manual_seed(0))
    weight[1, 32:, 5] = 0
    return weight


def test_they_are_kept_as_far_as_four_bits_go() -> None:
    weight = experts()
    parts = mxfp4_packed(weight)
    assert (parts["blocks"].shape, parts["scales"].shape) == ((3, 24, 2, 16), (3, 24, 2))
    assert {part.dtype for part in parts.values()} == {torch.uint8}
    error = (mxfp4_unpacked(parts) - weight).abs()
    assert float(error.max()) <= float(weight.abs().max()) / 4  # 8 lies above 6, the largest code
    assert bool((error[1, 32:, 5] == 0).all())


def test_the_library_makes_the_same_of_it() -> None:
    mxfp4 = pytest.importorskip("transformers.integrations.mxfp4")
    parts = mxfp4_packed(experts())
    theirs = mxfp4.convert_moe_packed_tensors(parts["blocks"], parts["scales"], dtype=torch.float32)
    assert torch.equal(theirs, mxfp4_unpacked(parts))


def test_codes_and_powers_are_those_of_the_specification() -> None:
    weight = torch.zeros(1, 32, 1)
    weight[0, :4, 0] = torch.tensor([6.0, -0.5, 3.0, 0.25])
    parts = mxfp4_packed(weight)
    assert parts["scales"].tolist() == [[[127]]]
    assert parts["blocks"].flatten()[:2].tolist() == [0x97, 0x05]
    parts["scales"] += 1
    assert mxfp4_unpacked(parts)[0, :4, 0].tolist() == [12.0, -1.0, 6.0, 0.0]


def test_it_is_of_gpt_oss_alone() -> None:
    assert why_impossible(parse_cell(CELL), ARCHITECTURES["gpt_oss"]) is None
    other = parse_cell("mixtral-bfloat16-eager-mxfp4-left-prefill")
    assert "GPT-OSS's experts" in (why_impossible(other, ARCHITECTURES["mixtral"]) or "")


def of_a_cpu(**said: object) -> Evidence:
    plain = honest_evidence(parse_cell("gpt_oss-bfloat16-eager-left-prefill"), Device.CPU)
    return Evidence(**{**vars(plain), **said})


def test_what_is_dequantised_at_load_passes_where_that_is_said() -> None:
    cell, gpt_oss = parse_cell(CELL), ARCHITECTURES["gpt_oss"]
    assert substitutions(cell, gpt_oss, of_a_cpu(warnings=(SAID,)), Device.CPU) == ()
    (silent,) = substitutions(cell, gpt_oss, of_a_cpu(), Device.CPU)
    assert silent == "weights are dequantised, not e2m1 by 32, and nobody said so"


def test_attention_is_left_as_it_is() -> None:
    cell, gpt_oss = parse_cell(CELL), ARCHITECTURES["gpt_oss"]
    attention = tuple(f"model.layers.0.self_attn.{name}_proj" for name in "qkvo")
    held = of_a_cpu(quantised_formats=("e2m1 by 32",), unquantised_linear=(*attention, "lm_head"))
    assert substitutions(cell, gpt_oss, held, Device.CPU) == ()


@pytest.mark.parametrize("cell", [CELL, "gpt_oss-float32-eager-mxfp4_dequantised-left-saved_again"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    must_hold(cell, cache)
