"""GPTQ and AWQ: what their tensors mean, and what is said where nothing reads them."""

import pytest
import torch

from conformance.quantisers.gptq_layouts import gptq_packed, gptq_unpacked, ordered, reordered
from matrix.cell import parse_cell
from matrix.expectation import Outcome, expect, load_rules
from tests.builders import ARCHITECTURES, make_stack


@pytest.mark.parametrize("kind", ["gptq", "awq"])
def test_a_weight_is_kept_as_far_as_four_bits_go(kind: str) -> None:
    weight = torch.randn(16, 96, generator=torch.Generator().manual_seed(0))
    found = gptq_unpacked(kind, gptq_packed(kind, weight))
    assert found.shape == weight.shape
    assert float((found - weight).abs().max()) <= float(weight.abs().max()) / 7


def test_gptq_writes_zero_points_that_are_one_less() -> None:
    parts = gptq_packed("gptq", torch.linspace(-1, 1, 8 * 32).reshape(8, 32))
    moved = {**parts, "qzeros": parts["qzeros"] + 0x11111111}
    step = parts["scales"].float().T
    assert torch.allclose(gptq_unpacked("gptq", moved), gptq_unpacked("gptq", parts) - step, atol=1e-6)


def test_the_order_of_awq_is_undone() -> None:
    codes = torch.arange(16)[None]
    assert ordered(codes)[0, :8].tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert torch.equal(reordered(ordered(codes)), codes)


@pytest.mark.parametrize(
    ("cell", "more", "words"),
    [
        ("llama-float16-sdpa-gptq-left-prefill", {"optimum": "2.3.0"}, "QuantizeConfig"),
        ("llama-float16-sdpa-gptq-left-prefill", {"optimum": "1.24.0"}, "GPU is required"),
        ("llama-float16-sdpa-awq-left-prefill", {"accelerate": "1.15.0"}, "requires gptqmodel"),
    ],
)
def test_it_is_unavailable_in_the_words_of_what_misses_it(cell: str, more: dict[str, str], words: str) -> None:
    found = expect(parse_cell(cell), make_stack(more), load_rules(ARCHITECTURES))
    assert (found.outcome, found.missing) == (Outcome.UNAVAILABLE, ("gptqmodel",))
    assert words in (found.message or "")
