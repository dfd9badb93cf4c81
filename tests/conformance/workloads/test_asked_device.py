"""Inputs brought to where the model says that it is."""

from pathlib import Path

from matrix.verdict import Verdict
from tests.rooms import must_hold, observed


def test_where_the_embedding_is_at_home_inputs_are_right_there(cache: Path) -> None:
    must_hold("llama-bfloat16-sdpa-cpu_disk-left-asked_device", cache)


def test_on_meta_they_are_lost(cache: Path) -> None:
    observation, judgement = observed("llama-bfloat16-sdpa-ends_away-left-asked_device", cache)
    assert judgement.verdict is Verdict.ERROR
    assert observation.failure is not None
    assert "meta" in observation.failure.message
