"""A prompt, an answer, and what is said next, all at once, on the filled cache."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed


@pytest.mark.parametrize(
    "cell",
    [
        "llama-bfloat16-sdpa-left-second_turn_by_hand",
        "mistral-float32-sdpa-second_turn_by_hand",
        "mamba2-float32-eager-second_turn_by_hand",
        "mixtral-bfloat16-eager-second_turn_by_hand",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 4 * (12 + 17 + 8) + (13 + 11 + 7 + 3 if "left" in cell else 4 * 13)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    fault = FAULTS["second_turn_counts_from_zero"]
    assert "logits" in must_break("llama-bfloat16-sdpa-left-second_turn_by_hand", fault, cache)


@pytest.mark.parametrize("cell", ["mamba-float32-eager-second_turn_by_hand", "bamba-bfloat16-sdpa-second_turn_by_hand"])
def test_it_sees_what_is_lost_between_turns(cache: Path, cell: str) -> None:
    """Known faults of transformers: Mamba's scan begins from nothing, Bamba counts from 0."""
    assert observed(cell, cache)[1].verdict is Verdict.INACCURATE
