"""Greedy decoding with cache."""

from pathlib import Path

import pytest
import torch

from conformance.decoding import regret
from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-bfloat16-sdpa-left-generate"


@pytest.mark.parametrize("cell", [CELL, "t5-float16-sdpa-right-generate"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    observation = must_hold(cell, cache)
    assert list(observation.comparisons[0].consequences) == ["regret"]
    assert observation.evidence.caches


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "decoded logits" in must_break(CELL, FAULTS["stale_cache_slot"], cache)


def test_a_token_that_is_not_the_best_is_caught_by_regret(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.argmax

    def second_best(scores, dim=None, keepdim=False):
        return scores.topk(2, dim=-1).indices[..., 1] if scores.ndim == 2 else original(scores, dim, keepdim)

    monkeypatch.setattr(torch, "argmax", second_best)
    judgement = observed("llama-float32-sdpa-generate", cache)[1]
    assert judgement.verdict is Verdict.INACCURATE
    assert "regret" in judgement.reason
    assert "max error" not in judgement.reason


def test_regret_is_what_the_choice_costs_and_ignores_banned_tokens() -> None:
    truth = torch.zeros(1, 8, dtype=torch.float64)
    truth[0, 2], truth[0, 5] = 3.0, 1.0
    for chosen, banned, costs in ((2, [], 0.0), (5, [], 2.0), (5, [2], 0.0), (0, [], 3.0)):
        assert regret(truth, torch.tensor([chosen]), banned) == costs
