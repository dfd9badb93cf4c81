"""The rows in another order."""

from pathlib import Path

import torch

from conformance.faults.catalogue import Attend
from tests.rooms import attention_fault, must_break, must_hold

CELL = "bert-bfloat16-sdpa-left-batch_permutation"


def first_row_is_special(call: Attend) -> torch.Tensor:
    """A kernel that treats the first row of a batch as if it were another."""
    scale = torch.ones(len(call.query), 1, 1, 1, dtype=call.query.dtype)
    scale[0] = 1.5
    return call(query=call.query * scale)


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "batch_permutation" in must_break(CELL, attention_fault(first_row_is_special), cache)
