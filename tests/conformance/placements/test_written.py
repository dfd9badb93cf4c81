"""Dicts as people write them."""

from pathlib import Path

import pytest

from conformance.maps import near_and_far
from conformance.placements.written import placing
from matrix.verdict import Verdict
from tests.placed import empty
from tests.rooms import must_hold, observed

NEAR, FAR = near_and_far()


@pytest.mark.parametrize(
    ("placement", "away"),
    [
        ("layer_split", {"encoder.block.1.layer.1", "decoder.block.1.layer.1"}),
        ("key_too_many", {"encoder.block.1", "decoder.block.1", "encoder.block.2"}),
        ("key_missing", {"encoder.block.1", "decoder.block.1"}),
        ("root_and_part", {"encoder.block.1"}),
        # T5's embedding stands in both of its halves as well.
        (
            "ends_away",
            {"encoder.block.1", "decoder.block.1", "shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"},
        ),
        ("head_away", {"encoder.block.1", "decoder.block.1", "lm_head"}),
    ],
)
def test_what_waits(placement: str, away: set[str]) -> None:
    placed = placing(placement, lambda: empty("t5"))["device_map"]
    assert {name for name, place in placed.items() if place == FAR} == away


@pytest.mark.parametrize("placement", ["layer_split", "key_too_many", "ends_away", "head_away"])
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_every_weight_has_one_place(placement: str, name: str) -> None:
    placed = placing(placement, lambda: empty(name))["device_map"]
    for parameter, _ in empty(name).named_parameters():
        assert sum(parameter.startswith(f"{prefix}.") for prefix in placed) == 1, parameter


def test_the_missing_key_is_of_something_with_weights() -> None:
    placed = placing("key_missing", lambda: empty("llama"))["device_map"]
    assert {name.partition(".")[0] for name, _ in empty("llama").named_parameters()} > {
        key.partition(".")[0] for key in placed
    }


@pytest.mark.parametrize("placement", ["layer_split", "ends_away"])
def test_a_dict_that_is_taken_gives_the_right_numbers(placement: str, cache: Path) -> None:
    must_hold(f"llama-bfloat16-sdpa-{placement}-left-prefill", cache)


def test_a_key_that_is_missing_is_refused_in_words(cache: Path) -> None:
    observation, judgement = observed("llama-bfloat16-sdpa-key_missing-left-prefill", cache)
    assert judgement.verdict is Verdict.ERROR
    assert observation.failure is not None
    assert "lm_head.weight" in observation.failure.message
