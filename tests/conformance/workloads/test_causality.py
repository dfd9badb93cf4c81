"""Other tokens at the end change nothing before them."""

from pathlib import Path

from conformance.faults import FAULTS
from tests.rooms import must_break, must_hold

CELL = "t5-bfloat16-sdpa-causality"


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "causality" in must_break(CELL, FAULTS["causal_off_by_one"], cache)
