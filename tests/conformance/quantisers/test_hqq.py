"""hqq's weights, what they mean, and that transformers refuses them."""

from pathlib import Path

import pytest
import torch

from conformance.quantisers.hqq import dequantise_hqq, stored_as
from matrix.cell import parse_cell
from matrix.expectation import Outcome, expect, load_rules
from tests.builders import ARCHITECTURES, make_stack
from tests.rooms import observed

CELL = "llama-bfloat16-sdpa-hqq4-left-prefill"


def test_it_is_unavailable_where_hqq_is_not_installed_and_refused_where_it_is() -> None:
    rules = load_rules(ARCHITECTURES)
    assert expect(parse_cell(CELL), make_stack(), rules).missing == ("hqq",)
    assert expect(parse_cell(CELL), make_stack({"hqq": "0.2.8"}), rules).outcome is Outcome.REFUSED


def test_it_is_refused_in_the_documented_words(cache: Path) -> None:
    pytest.importorskip("hqq")
    failure = observed(CELL, cache)[0].failure
    assert failure is not None
    assert expect(parse_cell(CELL), make_stack({"hqq": "0.2.8"}), load_rules(ARCHITECTURES)).matches(failure)


def test_codes_of_the_first_half_of_the_groups_are_high() -> None:
    packed = torch.tensor([[0x1F, 0x20]], dtype=torch.uint8)
    meta = {"zero": torch.tensor([[1.0], [5.0]]), "scale": torch.tensor([[2.0], [0.5]]), "shape": (1, 4)}
    assert dequantise_hqq(packed, meta).tolist() == [[0.0, 2.0, 5.0, -2.5]]


def test_a_weight_is_what_hqq_means() -> None:
    quantizer = pytest.importorskip("hqq.core.quantize").Quantizer
    torch.manual_seed(0)
    weight = torch.randn(48, 128)
    packed, meta = quantizer.quantize(weight, nbits=4, group_size=64, optimize=False, device="cpu")
    ours = dequantise_hqq(packed, meta)
    assert torch.equal(ours, quantizer.dequantize(packed, meta | {"compute_dtype": torch.float32}))
    assert float((ours - weight).abs().max()) < 0.3


def test_its_format_is_told_from_others() -> None:
    assert stored_as(torch.nn.Linear(2, 2)) is None
