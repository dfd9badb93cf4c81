"""Each row a batch of its own, its padding kept."""

from pathlib import Path

import pytest
import torch

from conformance.faults.catalogue import Attend
from tests.rooms import attention_fault, must_break, must_hold


@pytest.mark.parametrize("cell", ["llama-bfloat16-sdpa-left-single_row", "bert-float32-sdpa-right-single_row"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 144 + 131 + 65 + 9


def mask_dropped_for_a_batch_of_one(attend: Attend) -> torch.Tensor:
    """A shortcut that takes a batch of one for a batch without padding."""
    if len(attend.query) > 1:
        return attend()
    future = torch.ones(attend.query.shape[-2], attend.key.shape[-2], dtype=torch.bool).triu(1)
    return attend(bias=attend.with_mask(future[None, None]))


def test_a_mask_that_is_dropped_for_one_row_is_seen_here_alone(cache: Path) -> None:
    fault = attention_fault(mask_dropped_for_a_batch_of_one)
    assert "logits" in must_break("llama-bfloat16-sdpa-left-single_row", fault, cache)
