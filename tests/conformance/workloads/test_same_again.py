"""One input after another, and again after that."""

from pathlib import Path

import pytest
import torch

from conformance.another import another
from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed


def test_another_input_is_longer_of_fewer_rows_and_says_something_else() -> None:
    tokens = torch.arange(40).reshape(4, 10)
    mask = torch.ones_like(tokens)
    other = another({"input_ids": tokens, "attention_mask": mask, "token_type_ids": mask * 3})
    assert {name: tuple(tensor.shape) for name, tensor in other.items()} == {
        "input_ids": (2, 20),
        "attention_mask": (2, 20),
        "token_type_ids": (2, 20),
    }
    assert other["attention_mask"].all()
    assert other["token_type_ids"].eq(3).all()
    assert not (other["input_ids"][:, :10] == tokens[0]).all(-1).any()


def test_of_pictures_it_is_the_last_row_alone() -> None:
    pixels = torch.randn(4, 3, 8, 8)
    assert another({"pixel_values": pixels})["pixel_values"].equal(pixels[3:])


@pytest.mark.parametrize(
    "cell",
    [
        "llama-bfloat16-sdpa-left-same_again",
        "mistral-float32-eager-same_again",
        "bert-float32-sdpa-left-same_again",
        "t5-bfloat16-sdpa-same_again",
        "mamba-float32-eager-same_again",
        "recurrent_gemma-float32-sdpa-same_again",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    must_hold(cell, cache)


@pytest.mark.parametrize("cell", ["llama-bfloat16-sdpa-left-same_again", "jamba-float32-eager-same_again"])
def test_it_does_not_for_one_that_breaks_it(cache: Path, cell: str) -> None:
    assert "logits" in must_break(cell, FAULTS["state_kept_in_module"], cache)


def test_one_pass_does_not_see_what_is_left_for_the_next(cache: Path) -> None:
    fault = FAULTS["state_kept_in_module"]
    assert observed("llama-bfloat16-sdpa-left-prefill", cache, fault)[1].verdict is Verdict.SUPPORTED
