"""A static cache through `generate`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.caches import static
from conformance.faults import FAULTS, Fault
from conformance.faults.catalogue import Attend, sdpa_answered_by
from matrix.cell import parse_cell
from matrix.constraints import why_impossible
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-left-static-generate"


@pytest.mark.parametrize(
    ("cell", "seen"),
    [
        (CELL, "StaticCache"),
        ("mistral-bfloat16-eager-static-generate", "StaticCache"),
        ("gpt2-float16-sdpa-left-static-beam", "StaticCache"),
        ("t5-float32-sdpa-right-static-generate", "EncoderDecoderCache(StaticCache, StaticCache)"),
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str, seen: str) -> None:
    assert must_hold(cell, cache).evidence.caches == (seen,)


def test_another_cache_with_right_numbers_is_substituted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "generation_arguments", lambda cache: {})
    judgement = observed(CELL, cache)[1]
    assert judgement.verdict is Verdict.SUBSTITUTED, judgement.reason
    assert "the cache was DynamicCache, not a StaticCache" in judgement.reason


@contextlib.contextmanager
def _empty_slots_seen(model: Any) -> Iterator[None]:
    def answer(call: Attend) -> Any:
        """What is masked in every row is a slot that nothing has filled."""
        empty = call.masked.all(0, keepdim=True).all(-2, keepdim=True)
        return call(bias=call.with_mask(call.masked & ~empty)) if call.decodes else call()

    with sdpa_answered_by(answer, model):
        yield


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_empty_slots_that_are_attended_are_seen(cache: Path, dtype: str) -> None:
    fault = Fault("empty_slots_seen", "zeros of a static cache", bool, running=_empty_slots_seen)
    assert "decoded logits" in must_break(f"llama-{dtype}-sdpa-left-static-generate", fault, cache)


@pytest.mark.parametrize("name", ["decode_position_off_by_one", "padding_forgotten_in_decoding"])
def test_what_goes_wrong_in_decoding_is_seen(cache: Path, name: str) -> None:
    assert "decoded logits" in must_break(CELL, FAULTS[name], cache)


def test_a_cell_has_a_choice_of_cache_only_where_it_generates() -> None:
    reason = why_impossible(parse_cell("llama-float32-sdpa-static-prefill"), ARCHITECTURES["llama"])
    assert reason == "only what generates has a choice of cache"
