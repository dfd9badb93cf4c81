"""Moved after it was dispatched."""

from pathlib import Path

from matrix.verdict import Verdict
from tests.rooms import must_hold, observed


def test_a_model_in_one_place_is_what_it_was(cache: Path) -> None:
    must_hold("llama-bfloat16-sdpa-auto-left-moved_after", cache)


def test_one_of_which_a_part_waits_is_not_moved(cache: Path) -> None:
    observation, judgement = observed("llama-bfloat16-sdpa-cpu_disk-left-moved_after", cache)
    assert judgement.verdict is Verdict.ERROR
    assert observation.failure is not None
    assert (observation.failure.phase, observation.failure.type) == ("transform", "RuntimeError")
