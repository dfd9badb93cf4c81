"""Several documents in one row, told apart by their positions."""

from pathlib import Path

import pytest
import torch

from conformance.faults import FAULTS
from conformance.packing import bounds_of, documents, in_one_row
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed


def test_documents_are_of_different_lengths_and_each_counts_from_zero() -> None:
    tokens = torch.arange(36).reshape(4, 9)
    apart = documents({"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "token_type_ids": tokens + 100})
    row = in_one_row(apart)
    assert row["input_ids"].tolist() == [[*range(9), *range(9, 16), *range(18, 23), *range(27, 30)]]
    assert row["position_ids"].tolist() == [[*range(9), *range(7), *range(5), *range(3)]]
    assert row["token_type_ids"].equal(row["input_ids"] + 100)
    assert row.keys() == {"input_ids", "position_ids", "token_type_ids"}
    assert bounds_of(apart)["cu_seq_lens_q"].tolist() == [0, 9, 16, 21, 24]
    assert bounds_of(apart)["max_length_k"] == 9


@pytest.mark.parametrize(
    "cell", ["llama-float32-eager-packed", "gpt2-bfloat16-sdpa-packed", "mistral-float32-sdpa-packed"]
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 144 + 108 + 72 + 36


@pytest.mark.parametrize("cell", ["llama-bfloat16-sdpa-packed", "mixtral-float32-sdpa-packed"])
def test_it_does_not_for_one_that_breaks_it(cache: Path, cell: str) -> None:
    assert "logits" in must_break(cell, FAULTS["packed_boundary_leaks"], cache)


@pytest.mark.parametrize("cell", ["jamba-bfloat16-sdpa-packed", "lfm2-float32-sdpa-packed", "opt-float32-eager-packed"])
def test_it_sees_layers_and_masks_that_are_not_told_of_documents(cache: Path, cell: str) -> None:
    """Known faults of transformers: recurrences and convolutions run on, and OPT makes its mask without positions."""
    assert observed(cell, cache)[1].verdict is Verdict.INACCURATE
