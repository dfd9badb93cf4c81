"""A cache cropped back to a prefix that two texts share, then the other text."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed


@pytest.mark.parametrize(
    "cell",
    [
        "llama-float32-sdpa-cache_crop",
        "gpt2-bfloat16-sdpa-left-cache_crop",
        "mistral-float32-eager-cache_crop",
        "mixtral-bfloat16-sdpa-left-cache_crop",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 4 * 6


@pytest.mark.parametrize("cell", ["llama-float32-sdpa-cache_crop", "gpt2-bfloat16-eager-left-cache_crop"])
def test_a_token_that_is_left_behind_is_seen(cache: Path, cell: str) -> None:
    assert "logits" in must_break(cell, FAULTS["crop_one_short"], cache)


@pytest.mark.parametrize("cell", ["jamba-bfloat16-sdpa-cache_crop", "mamba2-float32-eager-cache_crop"])
def test_a_state_that_cannot_go_back_is_seen(cache: Path, cell: str) -> None:
    """A known fault of transformers: crop does nothing to a recurrent state, and says nothing."""
    assert observed(cell, cache)[1].verdict is Verdict.INACCURATE
