"""A padded batch = each row alone."""

from pathlib import Path

from conformance.faults import FAULTS
from tests.rooms import must_break, must_hold

CELL = "opt-bfloat16-sdpa-right-padding_invariance"


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "padding_invariance" in must_break(CELL, FAULTS["padding_ignored"], cache)
