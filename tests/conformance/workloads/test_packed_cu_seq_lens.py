"""Several documents in one row, with their bounds as kernels take them."""

from pathlib import Path

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-packed_cu_seq_lens"


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "logits" in must_break(CELL, FAULTS["packed_boundary_leaks"], cache)


def test_it_sees_layers_that_pay_no_attention_to_bounds(cache: Path) -> None:
    """transformers#46851: a convolution that is told where documents begin runs on all the same."""
    assert observed("lfm2-float32-sdpa-packed_cu_seq_lens", cache)[1].verdict is Verdict.INACCURATE
