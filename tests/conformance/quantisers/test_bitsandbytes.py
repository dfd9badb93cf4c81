"""What bitsandbytes' weights mean."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conformance.quantisers.bitsandbytes import SKIPPED, PlainInt8Linear, dequantise_4bit, dequantise_int8
from matrix.cell import parse_cell
from matrix.evidence import substitutions
from matrix.quantisers.bitsandbytes import QUERIES
from matrix.stack import Device
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES, honest_evidence
from tests.rooms import must_hold, observed


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
def test_plain_4_bit_weights_are_what_bitsandbytes_means(quant_type: str, nested: bool) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    torch.manual_seed(0)
    weight = torch.randn(96, 128)
    packed, state = functional.quantize_4bit(weight, quant_type=quant_type, compress_statistics=nested)
    assert state.nested is nested
    ours = dequantise_4bit(packed, state)
    assert torch.allclose(ours, functional.dequantize_4bit(packed, state).float(), rtol=1e-6, atol=1e-7)
    packed[0] ^= 0x10
    assert not torch.allclose(ours, dequantise_4bit(packed, state))


@pytest.mark.parametrize("outlier", [0.0, 20.0])
def test_plain_int8_linear_is_what_bitsandbytes_computes(outlier: float) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layer = bitsandbytes.nn.Linear8bitLt(64, 48, bias=True, has_fp16_weights=False, threshold=6.0)
    dense = layer.weight.data.clone()
    layer = layer.to("cpu").eval()
    inputs = torch.randn(5, 64, dtype=torch.float16)
    inputs[2, 7] = outlier
    codes, scales = layer.weight.CB if layer.weight.CB is not None else layer.weight.data, layer.weight.SCB
    codes, scales = codes.clone(), scales.clone()
    plain = PlainInt8Linear(codes, scales, layer.bias.data.half(), 6.0)
    with torch.no_grad():
        theirs = layer(inputs).float()
    assert torch.allclose(plain(inputs).float(), theirs, rtol=2e-3, atol=2e-3)
    assert torch.allclose(dequantise_int8(codes, scales), dense, atol=dense.abs().max().item() / 127)
    if outlier:
        all_quantised = PlainInt8Linear(codes, scales, layer.bias.data.half(), 0.0)
        assert not torch.allclose(all_quantised(inputs).float(), theirs, rtol=2e-3, atol=2e-3)


def test_codes_may_pose_as_another_dtype(cache: Path) -> None:
    pytest.importorskip("bitsandbytes")
    evidence = must_hold("llama-bfloat16-sdpa-nf4_bfloat16_storage-left-prefill", cache).evidence
    assert evidence.quantised_formats == ("nf4 in bfloat16",)
    float16 = observed("llama-float16-sdpa-nf4_bfloat16_storage-left-prefill", cache)[0].evidence
    assert float16.parameter_dtypes["bfloat16"] > 10
    assert not float16.foreign_parameters


def test_what_is_skipped_is_left_and_must_be(cache: Path) -> None:
    pytest.importorskip("bitsandbytes")
    assert SKIPPED == QUERIES
    evidence = must_hold("llama-bfloat16-sdpa-int8_skip-left-prefill", cache).evidence
    assert [name for name in evidence.unquantised_linear if name.endswith("q_proj")]
    cell = parse_cell("llama-bfloat16-sdpa-int8_skip-left-prefill")
    whole = replace(honest_evidence(cell, Device.CPU), unquantised_linear=("lm_head",))
    assert any("told to leave" in found for found in substitutions(cell, ARCHITECTURES["llama"], whole, Device.CPU))


@pytest.mark.parametrize(("quantisation", "words"), [("int8_skip", "'CB'"), ("nf4_skip", "assert")])
def test_a_skip_list_that_quantises_a_tied_head_is_an_error(cache: Path, quantisation: str, words: str) -> None:
    pytest.importorskip("bitsandbytes")
    judgement = observed(f"opt-bfloat16-sdpa-{quantisation}-left-prefill", cache)[1]
    assert judgement.verdict is Verdict.ERROR
    assert words in judgement.reason
