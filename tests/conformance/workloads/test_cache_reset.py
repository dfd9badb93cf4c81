"""A static cache that is reset and used again."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from tests.rooms import must_break, must_hold


@pytest.mark.parametrize(
    "cell",
    [
        "llama-float32-sdpa-cache_reset",
        "gpt2-bfloat16-sdpa-left-cache_reset",
        "mistral-float32-eager-cache_reset",
        "mamba-float32-eager-cache_reset",
        "jamba-bfloat16-sdpa-left-cache_reset",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 4 * 6 + (13 + 11 + 7 + 3 if "left" in cell else 4 * 13)


@pytest.mark.parametrize(
    "cell",
    ["llama-float32-sdpa-cache_reset", "gpt2-bfloat16-eager-left-cache_reset", "mamba2-bfloat16-eager-cache_reset"],
)
def test_a_reset_that_leaves_the_old_text_is_seen(cache: Path, cell: str) -> None:
    assert "logits" in must_break(cell, FAULTS["reset_does_nothing"], cache)
