"""Sampling: what the processors keep, with what probability, and what is drawn."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.faults import FAULTS, Fault
from conformance.workloads import sampled
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-left-sampled"


@pytest.mark.parametrize("cell", [CELL, "mixtral-bfloat16-sdpa-left-sampled", "t5-float16-sdpa-right-sampled"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 4 * 16
    assert list(comparison.consequences) == ["let in", "left out", "log-probability", "draw", "same seed"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["top_p_before_temperature", "min_p_ignored"])
def test_a_filter_that_keeps_others_is_seen(cache: Path, name: str, dtype: str) -> None:
    reason = must_break(f"llama-{dtype}-sdpa-left-sampled", FAULTS[name], cache)
    assert "let in" in reason or "left out" in reason
    assert "max error" not in reason


def test_what_goes_wrong_in_decoding_is_seen(cache: Path) -> None:
    assert "sampled logits" in must_break("llama-bfloat16-sdpa-left-sampled", FAULTS["stale_cache_slot"], cache)


def always_the_first(probabilities: torch.Tensor, num_samples: int, **given: Any) -> torch.Tensor:
    """A draw that is none."""
    return probabilities.argmax(-1, keepdim=True)


def any_that_is_kept(probabilities: torch.Tensor, num_samples: int, **given: Any) -> torch.Tensor:
    """A draw that does not ask how probable a token is."""
    return torch.rand_like(probabilities).where(probabilities > 0, 0.0).argmax(-1, keepdim=True)


@pytest.mark.parametrize("draw", [always_the_first, any_that_is_kept])
def test_a_draw_from_another_distribution_is_seen(cache: Path, monkeypatch: pytest.MonkeyPatch, draw: Any) -> None:
    monkeypatch.setattr(sampled, "SAMPLED_TOKENS", 64)
    monkeypatch.setattr(torch, "multinomial", draw)
    judgement = observed(CELL, cache)[1]
    assert judgement.verdict is Verdict.INACCURATE
    assert "draw error inf" in judgement.reason
    assert "let in" not in judgement.reason


def test_another_draw_from_the_same_seed_is_seen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "manual_seed", lambda seed: None)
    usual = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda: usual(enabled=False))
    judgement = observed(CELL, cache)[1]
    assert "same seed error inf" in judgement.reason


def test_the_generators_are_left_as_they_were(cache: Path) -> None:
    before = torch.get_rng_state()
    must_hold(CELL, cache)
    assert torch.equal(torch.get_rng_state(), before)


def test_how_far_logits_must_be_off_for_a_token_to_be_kept_or_not() -> None:
    """Of 50 tokens each half as probable as the one before, top-p keeps three."""
    truth = -math.log(2) * torch.arange(50, dtype=torch.float64)[None]
    kept = torch.full_like(truth, -math.inf)
    for last, let_in, left_out in ((3, 0, 0), (4, 1, 0), (2, 0, 1)):
        scores = kept.clone()
        scores[0, :last] = truth[0, :last]
        assert (sampled.let_in(truth, scores) > 0, sampled.left_out(truth, scores) > 0) == (let_in, left_out)
    scores[0, :4] = truth[0, :4]
    # Three tokens have 0.875 of the mass, which top-p has had enough of by a factor of 0.875 / 0.8.
    assert sampled.let_in(truth, scores) == pytest.approx(sampled.TEMPERATURE * math.log(0.875 / 0.8))


def test_a_token_that_no_filter_kept_has_no_probability() -> None:
    scores = torch.tensor([[0.0, -math.inf]], dtype=torch.float64)
    assert sampled.probability_error(torch.zeros(1, 2), scores, torch.tensor([1])) == math.inf
    assert sampled.probability_error(torch.zeros(1, 2), scores, torch.tensor([0])) == 0.0


def test_what_was_ruled_out_by_an_own_rule_is_not_missed() -> None:
    truth = sampled.scaled(torch.tensor([[9.0, 3.0, 1.5]]), [0])
    assert truth.tolist() == [[-math.inf, 2.0, 1.0]]


def test_a_fault_of_processors_puts_them_back() -> None:
    class Model:
        def _get_logits_processor(self) -> list[str]:
            return ["kept"]

    model = Model()
    fault: Fault = FAULTS["min_p_ignored"]
    with fault.running(model):
        assert model._get_logits_processor() == ["kept"]
    assert model._get_logits_processor() == ["kept"]
