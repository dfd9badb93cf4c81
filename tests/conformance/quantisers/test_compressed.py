"""compressed-tensors: the tensors that are written mean what the package makes of them."""

from pathlib import Path

import pytest
import torch

from conformance.quantisers.compressed import (
    CT_SCHEMES,
    ct_packed,
    ct_unpacked,
    into_words,
    nearest_code,
    out_of_words,
    rounded_by_token,
)
from matrix.cell import parse_cell
from matrix.expectation import Outcome, expect, load_rules
from tests.builders import ARCHITECTURES, make_stack
from tests.rooms import must_hold

OF_THE_LARGEST = {"int4": 1 / 14, "int4_asym": 1 / 14, "int8": 1 / 254, "w8a8": 1 / 250, "fp8": 1 / 16, "nvfp4": 1 / 5}


def a_weight(rows: int = 24, columns: int = 96) -> torch.Tensor:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    weight[5] = 0  # as routers have some
    return weight


@pytest.mark.parametrize("kind", CT_SCHEMES)
def test_a_weight_is_kept_as_far_as_its_bits_go(kind: str) -> None:
    weight = a_weight()
    found = ct_unpacked(kind, ct_packed(kind, weight, torch.float32))
    assert found.shape == weight.shape
    assert float((found - weight).abs().max()) <= OF_THE_LARGEST[kind] * float(weight.abs().max())
    assert bool((found[5] == 0).all())


@pytest.mark.parametrize("kind", CT_SCHEMES)
def test_the_package_makes_the_same_of_it(kind: str) -> None:
    quantization = pytest.importorskip("compressed_tensors.quantization")
    compressors = pytest.importorskip("compressed_tensors.compressors")
    form, weights, _ = CT_SCHEMES[kind]
    scheme = quantization.QuantizationScheme(targets=["Linear"], weights=quantization.QuantizationArgs(**weights))
    parts = ct_packed(kind, a_weight(), torch.float32)
    theirs = compressors.BaseCompressor.get_value_from_registry(form).decompress(parts, scheme)["weight"].float()
    ours = ct_unpacked(kind, parts)
    if kind == "nvfp4":  # which it unpacks in bfloat16
        torch.testing.assert_close(theirs, ours, rtol=2**-7, atol=0)
    else:
        assert torch.equal(theirs, ours)


@pytest.mark.parametrize("bits", [4, 8])
def test_words_hold_codes_in_order_also_of_rows_that_do_not_fill_them(bits: int) -> None:
    codes = torch.arange(2 * 13).reshape(2, 13) % 2**bits
    words = into_words(codes, bits)
    assert words.dtype is torch.int32
    assert int(words[0, 0]) & (2**bits - 1) == 0
    assert torch.equal(out_of_words(words, bits, 13), codes)


def test_values_between_two_codes_go_to_the_even_one() -> None:
    values = torch.tensor([0.24, 0.25, 0.75, 1.25, 5.0, 7.0, -0.75, -3.0])
    assert nearest_code(values).tolist() == [0, 0, 2, 2, 6, 7, 10, 13]


def test_inputs_are_rounded_each_token_by_its_own_largest() -> None:
    inputs = torch.tensor([[1.0, 0.4, -0.003], [100.0, 40.0, -0.3]])
    rounded = rounded_by_token(inputs, "int")
    torch.testing.assert_close(rounded[1], torch.tensor([99.6078, 40.0, -0.0]), rtol=1e-4, atol=1e-4)
    assert rounded_by_token(inputs, "float")[0, 1] == pytest.approx(0.4, rel=1 / 16)
    assert rounded_by_token(torch.zeros(1, 4), "int").tolist() == [[0.0] * 4]


def test_it_is_unavailable_where_the_package_is_not_installed() -> None:
    cell, rules = parse_cell("llama-float32-sdpa-ct_int4-left-prefill"), load_rules(ARCHITECTURES)
    assert expect(cell, make_stack(), rules).missing == ("compressed-tensors",)
    assert expect(cell, make_stack({"compressed-tensors": "0.20.0"}), rules).outcome is Outcome.SUPPORTED


@pytest.mark.parametrize(
    "cell",
    [
        "llama-bfloat16-sdpa-ct_int4-left-prefill",
        "qwen3_tied-bfloat16-sdpa-ct_w8a8-left-saved_again",
        "bert-float32-sdpa-ct_fp8-right-prefill",
        "llama-bfloat16-sdpa-ct_nvfp4-left-reload",
        "opt-float16-sdpa-ct_int4_asym_dequantised-left-prefill",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    pytest.importorskip("compressed_tensors")
    must_hold(cell, cache)
