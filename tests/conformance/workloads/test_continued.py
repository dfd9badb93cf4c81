"""A prompt, then given tokens one by one."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed


@pytest.mark.parametrize(
    "cell",
    [
        "llama-float32-sdpa-continued",
        "llama-bfloat16-sdpa-right-continued",
        "gpt2-bfloat16-sdpa-left-continued",
        "mistral-float32-sdpa-continued",
        "mamba-float32-eager-continued",
        "mixtral-bfloat16-sdpa-left-continued",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    padded = "left" in cell or "right" in cell
    assert comparison.positions == 4 * 40 + (13 + 11 + 7 + 3 if padded else 4 * 13)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "logits" in must_break("llama-bfloat16-sdpa-continued", FAULTS["stale_cache_slot"], cache)


@pytest.mark.parametrize(
    "cell",
    [
        "mistral-float32-sdpa-right-continued",
        "bamba-float32-sdpa-continued",
        "zamba2-float32-sdpa-continued",
        "recurrent_gemma-float32-sdpa-right-continued",
        "mamba2-bfloat16-eager-right-continued",
    ],
)
def test_it_sees_what_no_relation_saw(cache: Path, cell: str) -> None:
    """Known faults of transformers: both runs of a relation share them, or it never gets there."""
    assert observed(cell, cache)[1].verdict is Verdict.INACCURATE
