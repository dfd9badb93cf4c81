"""Greedy decoding from the drafts of a second model."""

from pathlib import Path
from typing import Any

import pytest
import transformers

from conformance.faults import FAULTS
from conformance.workloads import assisted
from matrix.observation import Ending
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-left-assisted"


@pytest.mark.parametrize("cell", [CELL, "mistral-bfloat16-sdpa-left-assisted", "t5-bfloat16-sdpa-right-assisted"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    observation = must_hold(cell, cache)
    (comparison,) = observation.comparisons
    assert comparison.positions == 4 * 24
    assert list(comparison.consequences) == ["regret"]
    assert observation.evidence.caches


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_draft_that_is_trusted_is_seen(cache: Path, dtype: str) -> None:
    reason = must_break(f"llama-{dtype}-sdpa-left-assisted", FAULTS["drafts_trusted"], cache)
    assert "regret" in reason
    assert "max error" not in reason  # what was chosen is wrong, not what the model said


def test_a_cache_that_keeps_what_was_turned_down_is_seen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.DynamicCache, "crop", lambda self, length: None)
    assert observed(CELL, cache)[1].verdict in (Verdict.INACCURATE, Verdict.ERROR)


def test_some_of_most_drafts_is_accepted_and_some_is_not(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    usual = assisted.drafted

    def counted(*args: Any, **kwargs: Any) -> Any:
        found, drafts, accepted = usual(*args, **kwargs)
        told.append((drafts, accepted))
        return found, drafts, accepted

    monkeypatch.setattr(assisted, "drafted", counted)
    for cell in (CELL, "gpt2-bfloat16-sdpa-left-assisted", "mixtral-bfloat16-sdpa-left-assisted"):
        must_hold(cell, cache)
    for drafts, accepted in told:
        assert 0.2 * drafts < accepted < 0.8 * drafts


def test_drafts_of_which_none_is_accepted_are_no_help(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assisted, "WRONG", 1)
    observation, judgement = observed(CELL, cache)
    assert observation.ending is Ending.RAISED
    assert "none was accepted" in judgement.reason


def test_a_state_that_cannot_go_back_is_refused(cache: Path) -> None:
    assert "stateful models" in observed("mamba-float32-eager-left-assisted", cache)[1].reason
