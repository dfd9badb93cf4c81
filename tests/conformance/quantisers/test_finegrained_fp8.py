"""Finegrained FP8: what its blocks mean, also where a side ends within one."""

from pathlib import Path

import pytest
import torch

from conformance.quantisers.finegrained_fp8 import fp8_packed, fp8_unpacked
from matrix.cell import parse_cell
from matrix.evidence import substitutions
from matrix.observation import Evidence
from matrix.quantisers import QUANTISATIONS
from matrix.stack import Device
from tests.builders import ARCHITECTURES, honest_evidence
from tests.rooms import must_hold

CELL = parse_cell("llama-float32-sdpa-fp8-left-prefill")
SAID = "Using FP8 quantized models requires a GPU or XPU, we will default to dequantizing the model to bf16 since"


def test_a_weight_is_kept_to_a_sixteenth_of_itself() -> None:
    weight = torch.randn(168, 320, generator=torch.Generator().manual_seed(0))
    parts = fp8_packed(weight)
    assert parts["weight_scale_inv"].shape == (2, 3)
    error = (fp8_unpacked(parts) - weight).abs()
    assert bool((error <= weight.abs() / 16 + parts["weight_scale_inv"].max() / 512).all())


def test_a_scale_is_that_of_its_block_and_of_no_other() -> None:
    parts = fp8_packed(torch.ones(168, 320))
    parts["weight_scale_inv"][1, 2] *= 2
    doubled = torch.ones(168, 320)
    doubled[128:, 256:] = 2
    assert torch.equal(fp8_unpacked(parts), doubled)


def of_a_cpu(**said: object) -> Evidence:
    plain = honest_evidence(parse_cell("llama-float32-sdpa-left-prefill"), Device.CPU)
    return Evidence(**{**vars(plain), **said})


def test_what_is_dequantised_at_load_passes_where_that_is_said() -> None:
    told = substitutions(CELL, ARCHITECTURES["llama"], of_a_cpu(warnings=(f"{SAID} no GPU is available",)), Device.CPU)
    assert told == ()
    silent = substitutions(CELL, ARCHITECTURES["llama"], of_a_cpu(), Device.CPU)
    assert silent == ("weights are dequantised, not e4m3 by block, and nobody said so",)


def test_what_is_to_be_dequantised_is_substituted_where_it_is_not() -> None:
    cell = parse_cell("llama-float32-sdpa-fp8_dequantised-left-prefill")
    kept = of_a_cpu(quantised_formats=("e4m3 by block",), linear_classes={"FP8Linear": 14})
    assert any("FP8Linear" in words for words in substitutions(cell, ARCHITECTURES["llama"], kept, Device.CPU))


def test_experts_that_are_held_dequantised_are_told() -> None:
    cell = parse_cell("mixtral-float32-sdpa-ct_int8-left-prefill")
    room = QUANTISATIONS["ct_int8"]
    held = of_a_cpu(model_type="mixtral", quantised_formats=(room.stored_as,), unquantised_stacked=0.8)
    (words,) = substitutions(cell, ARCHITECTURES["mixtral"], held, Device.CPU)
    assert "experts that the checkpoint has in the format are held dequantised, 80 % of the bytes" in words


@pytest.mark.parametrize("workload", ["prefill", "saved_again"])
def test_it_holds_for_an_honest_model(cache: Path, workload: str) -> None:
    must_hold(f"llama_blocks-bfloat16-sdpa-fp8-left-{workload}", cache)
