"""Continuous batching: requests that come and go."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.generation.continuous_batching import requests

from conformance.faults import FAULTS
from conformance.workloads import generate_batch
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-left-generate_batch"


@pytest.mark.parametrize(
    "cell", [CELL, "mistral-bfloat16-eager-left-generate_batch", "gpt2-bfloat16-sdpa-generate_batch"]
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    observation = must_hold(cell, cache)
    (comparison,) = observation.comparisons
    assert comparison.positions == 8 * 16
    assert list(comparison.consequences) == ["regret"]
    assert observation.evidence.caches == ("PagedAttentionCache",)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_it_is_the_cells_own_backend_that_answers(cache: Path, attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes flash attention wherever it finds it, unless a paged implementation is asked for by name."""
    asked = []
    usual = transformers.LlamaForCausalLM.generate_batch

    def generate_batch(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = kwargs["continuous_batching_config"]
        asked.append((self.config._attn_implementation, getattr(config, "auto_switch_to_flash", True)))
        return usual(self, *args, **kwargs)

    monkeypatch.setattr(transformers.LlamaForCausalLM, "generate_batch", generate_batch)
    must_hold(f"llama-float32-{attention}-left-generate_batch", cache)
    ((implementation, may_switch),) = asked
    assert implementation.removeprefix("paged|") == attention
    assert implementation.startswith("paged|") or not may_switch


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_requests_that_see_each_other_are_seen(cache: Path, dtype: str) -> None:
    reason = must_break(f"llama-{dtype}-sdpa-left-generate_batch", FAULTS["requests_mixed"], cache)
    assert "log-probabilities max" in reason


def test_another_token_with_a_right_log_probability_is_seen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "argmax", lambda scores, dim, keepdim: scores.topk(2, dim).indices[..., 1:])
    reason = observed(CELL, cache)[1].reason
    assert "regret" in reason
    assert "max error" not in reason


def test_requests_that_fail_say_so(cache: Path) -> None:
    judgement = observed("opt-float32-sdpa-left-generate_batch", cache)[1]
    if judgement.verdict is not Verdict.SUPPORTED:  # as on 5.23
        assert "8 of 8 requests failed: 'PagedAttentionCache'" in judgement.reason


def test_a_request_that_gets_fewer_tokens_is_not_taken_for_an_answer(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = requests.RequestState.to_generation_output

    def shortened(self: Any) -> Any:
        output = usual(self)
        output.generated_tokens = output.generated_tokens[:-1]
        return output

    monkeypatch.setattr(requests.RequestState, "to_generation_output", shortened)
    assert "8 requests for 16 tokens each got [15" in observed(CELL, cache)[1].reason


def test_requests_one_by_one_are_no_batch(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_batch, "ROOM", generate_batch.ROOM | {"max_requests_per_batch": 1})
    assert "nothing was batched" in observed(CELL, cache)[1].reason
