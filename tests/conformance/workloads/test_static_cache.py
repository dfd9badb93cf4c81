"""StaticCache with slots to spare = DynamicCache."""

from pathlib import Path

import torch

from conformance.faults.catalogue import Attend
from tests.rooms import attention_fault, must_break, must_hold

CELL = "llama-bfloat16-sdpa-left-static_cache"


def empty_slots_attended(call: Attend) -> torch.Tensor:
    """Nothing is masked that lies beyond the tokens of a static cache."""
    beyond = call.masked.all(-2, keepdim=True) & (torch.arange(call.key.shape[-2]) > 100)
    return call(bias=call.with_mask(call.masked & ~beyond))


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "static_cache" in must_break(CELL, attention_fault(empty_slots_attended), cache)
