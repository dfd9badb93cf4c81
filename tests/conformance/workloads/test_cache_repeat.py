"""A prefix that is prefilled once and repeated for several texts."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed


@pytest.mark.parametrize(
    "cell",
    ["llama-float32-sdpa-cache_repeat", "gpt2-bfloat16-sdpa-left-cache_repeat", "mistral-float32-sdpa-cache_repeat"],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 2 * 4 * 6


@pytest.mark.parametrize("cell", ["llama-float32-sdpa-cache_repeat", "gpt2-bfloat16-eager-left-cache_repeat"])
def test_rows_that_are_repeated_in_turn_are_seen(cache: Path, cell: str) -> None:
    assert "logits" in must_break(cell, FAULTS["prefix_repeated_in_turn"], cache)


@pytest.mark.parametrize("cell", ["bamba-float32-sdpa-cache_repeat", "falcon_h1-float32-sdpa-cache_repeat"])
def test_states_that_cannot_be_repeated_are_seen(cache: Path, cell: str) -> None:
    """Known faults of transformers: there is no such method, or it repeats keys and values alone."""
    assert observed(cell, cache)[1].verdict is Verdict.ERROR
