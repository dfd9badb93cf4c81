"""Generated on from one prompt after another, and again after that."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from tests.rooms import must_break, must_hold


@pytest.mark.parametrize(
    "cell",
    [
        "llama-bfloat16-sdpa-left-same_again_generated",
        "llama-float32-eager-left-static-same_again_generated",
        "t5-float32-sdpa-left-same_again_generated",
        "falcon_h1-bfloat16-sdpa-left-same_again_generated",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 4 * 8


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    fault = FAULTS["state_kept_in_module"]
    assert "decoded logits" in must_break("llama-bfloat16-sdpa-left-same_again_generated", fault, cache)
