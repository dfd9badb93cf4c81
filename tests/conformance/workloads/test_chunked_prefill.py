"""In chunks with cache = one forward pass."""

from pathlib import Path

import torch

from conformance.faults.catalogue import Attend
from tests.rooms import attention_fault, must_break, must_hold

CELL = "gpt2-bfloat16-sdpa-left-chunked_prefill"


def cache_seen_backwards(call: Attend) -> torch.Tensor:
    """What lies in the cache is read in the wrong order, what is new is not."""
    cached = call.key.shape[-2] - call.query.shape[-2]
    if cached <= 0:
        return call()
    order = [*reversed(range(cached)), *range(cached, call.key.shape[-2])]
    return call(key=call.key[..., order, :], value=call.value[..., order, :])


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "chunked_prefill" in must_break(CELL, attention_fault(cache_seen_backwards), cache)
