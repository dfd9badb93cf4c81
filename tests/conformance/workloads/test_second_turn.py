"""What is said next is generated on from with the cache of the first answer."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed


@pytest.mark.parametrize(
    "cell",
    [
        "llama-bfloat16-sdpa-left-second_turn",
        "mistral-float32-eager-second_turn",
        "lfm2-float32-sdpa-second_turn",
        "falcon_h1-bfloat16-sdpa-left-second_turn",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 4 * (12 + 8)


@pytest.mark.parametrize("name", ["second_turn_counts_from_zero", "stale_cache_slot"])
def test_it_does_not_for_one_that_breaks_it(cache: Path, name: str) -> None:
    assert "decoded logits" in must_break("llama-bfloat16-sdpa-left-second_turn", FAULTS[name], cache)


def test_the_first_turn_alone_does_not_see_positions_that_begin_anew(cache: Path) -> None:
    fault = FAULTS["second_turn_counts_from_zero"]
    assert observed("llama-bfloat16-sdpa-left-generate", cache, fault)[1].verdict is Verdict.SUPPORTED


@pytest.mark.parametrize("cell", ["jamba-float32-sdpa-left-second_turn", "mamba2-float32-eager-second_turn"])
def test_it_sees_states_that_are_lost_or_fed_twice(cache: Path, cell: str) -> None:
    """Known faults of transformers: Jamba's scan begins from nothing, Mamba-2 is given all tokens again."""
    assert observed(cell, cache)[1].verdict is Verdict.INACCURATE
