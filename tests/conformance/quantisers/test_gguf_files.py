"""GGUF: bytes mean what the package makes of them, rows lie as llama.cpp has them."""

from pathlib import Path

import pytest
import torch

from conformance.quantisers.gguf_files import gguf_packed, gguf_unpacked, load_arguments, rows_permuted
from tests.rooms import must_hold

OF_THE_LARGEST = {"q8_0": 1 / 250, "q5_1": 1 / 30, "q4_0": 1 / 8}


def a_weight() -> torch.Tensor:
    weight = torch.randn(12, 96, generator=torch.Generator().manual_seed(0))
    weight[5] = 0
    return weight


@pytest.mark.parametrize("kind", OF_THE_LARGEST)
def test_a_weight_is_kept_as_far_as_its_bits_go(kind: str) -> None:
    weight = a_weight()
    error = (gguf_unpacked(kind, gguf_packed(kind, weight)) - weight).abs()
    assert float(error.max()) <= OF_THE_LARGEST[kind] * float(weight.abs().max())


@pytest.mark.parametrize("kind", OF_THE_LARGEST)
def test_the_package_makes_the_same_of_it(kind: str) -> None:
    gguf = pytest.importorskip("gguf")
    packed = gguf_packed(kind, a_weight())
    theirs = gguf.dequantize(packed.numpy(), gguf.GGMLQuantizationType[kind.upper()])
    assert torch.equal(torch.from_numpy(theirs), gguf_unpacked(kind, packed))


def test_rows_of_a_head_are_those_of_its_halves_in_turn() -> None:
    assert rows_permuted(torch.arange(16)[:, None], 2).flatten().tolist() == [
        *(0, 4, 1, 5, 2, 6, 3, 7),
        *(8, 12, 9, 13, 10, 14, 11, 15),
    ]


def test_of_a_file_that_is_asked_for_by_name_nothing_else_is_said() -> None:
    assert list(load_arguments("gguf_q8_0_by_name", torch.float32)) == ["gguf_file"]


@pytest.mark.parametrize(
    "cell",
    [
        "llama-float32-sdpa-gguf_q5_1-left-prefill",
        "llama-float32-sdpa-gguf_q8_0_by_name-left-prefill",
        "qwen3_tied-bfloat16-sdpa-gguf_q4_0-left-reload",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    pytest.importorskip("gguf")
    must_hold(cell, cache)
