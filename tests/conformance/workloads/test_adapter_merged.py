"""A LoRA merged into the weights."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from tests.rooms import must_break, must_hold

pytest.importorskip("peft")
CELL = "gpt2-bfloat16-sdpa-left-adapter_merged"


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "logits" in must_break(CELL, FAULTS["merge_forgets_one"], cache)
