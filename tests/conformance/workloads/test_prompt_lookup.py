"""Greedy decoding from drafts that stand in the text so far."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.generation import candidate_generator

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-left-prompt_lookup"


@pytest.mark.parametrize("cell", [CELL, "bloom-float16-eager-left-prompt_lookup", "t5-float32-eager-prompt_lookup"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 4 * 24
    assert list(comparison.consequences) == ["regret"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_draft_that_is_trusted_is_seen(cache: Path, dtype: str) -> None:
    fault = replace(FAULTS["drafts_trusted"], workload="prompt_lookup")
    assert "regret" in must_break(f"llama-{dtype}-sdpa-left-prompt_lookup", fault, cache)


def test_a_cache_that_keeps_what_was_turned_down_is_seen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.DynamicCache, "crop", lambda self, length: None)
    assert observed(CELL, cache)[1].verdict in (Verdict.INACCURATE, Verdict.ERROR)


def test_without_a_draft_nothing_was_tried(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Any, tokens: Any, **kwargs: Any) -> tuple[Any, None]:
        return tokens, None

    monkeypatch.setattr(candidate_generator.PromptLookupCandidateGenerator, "get_candidates", nothing)
    assert "none was drafted" in observed(CELL, cache)[1].reason
