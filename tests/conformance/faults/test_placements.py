"""Faults of what waits elsewhere."""

from pathlib import Path

import pytest

from conformance.faults import FAULTS
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold

CELL = "llama-float32-sdpa-cpu_disk-left-prefill"


def test_without_them_the_cell_is_green(cache: Path) -> None:
    assert must_hold(CELL, cache).evidence.placement["meta"] > 0


@pytest.mark.parametrize("name", ["waiting_lost", "waiting_stale"])
def test_weights_that_come_back_changed_are_seen(name: str, cache: Path) -> None:
    assert "logits" in must_break(CELL, FAULTS[name], cache)


def test_a_map_that_does_nothing_is_seen_though_the_numbers_are_right(cache: Path) -> None:
    reason = must_break(CELL, FAULTS["never_sent_away"], cache, Verdict.SUBSTITUTED)
    assert "not some here and some waiting" in reason
