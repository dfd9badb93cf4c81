"""A cell alone in a fresh process: what it observes, and what is said when no answer comes."""

from pathlib import Path
from typing import Any

import pytest

from conformance import interruption
from conformance.plugin import afresh
from conformance.plugin.afresh import observed_afresh
from matrix.cell import parse_cell
from matrix.observation import Ending
from matrix.stack import Device
from tests.builders import ARCHITECTURES

CELL = parse_cell("gpt2-float32-sdpa-left-prefill")


def arguments(cache: Path, **changes: Any) -> dict[str, Any]:
    given = {
        "device": Device.CPU,
        "architectures": {"gpt2": ARCHITECTURES["gpt2"]},
        "fixture_cache": cache,
        "fault": "",
    }
    return {**given, **changes}


def test_what_a_bench_observes_there_comes_back(cache: Path) -> None:
    observation = observed_afresh(arguments(cache), CELL, 120.0)
    assert observation.ending is Ending.COMPLETED
    assert observation.evidence.model_type == "gpt2"
    assert observation.comparisons


def test_a_fault_is_seeded_there_as_well(cache: Path) -> None:
    honest, faulty = (observed_afresh(arguments(cache, fault=fault), CELL, 120.0) for fault in ("", "scale_10_percent"))
    assert faulty.comparisons[0].candidate_mean > 100 * honest.comparisons[0].candidate_mean


def test_others_are_measured_before_it_in_the_same_process(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plugin of the tests leaves behind after each cell (tests/leaker.py) is of that process alone."""
    monkeypatch.setattr(afresh, "_CODE", f"import tests.leaker; {afresh._CODE}")
    other = parse_cell("gpt2-float32-sdpa-prefill")
    alone, later = (observed_afresh(arguments(cache), CELL, 120.0, after) for after in ((), (other,)))
    assert later.comparisons[0].candidate_mean > 100 * alone.comparisons[0].candidate_mean


def test_others_that_take_too_long_leave_no_time_for_it(cache: Path) -> None:
    observation = observed_afresh(arguments(cache), CELL, 0.0, (CELL,))
    assert observation.ending is Ending.TIMEOUT
    assert observation.failure is not None
    assert observation.failure.message == "the cells before it took longer than 0 s"


def test_a_death_is_want_of_memory_where_the_kernel_killed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(afresh.KernelKills, "another", lambda kills: True)
    observation = observed_afresh(arguments(cache, nonsense=1), CELL, 120.0)
    assert observation.ending is Ending.OUT_OF_MEMORY
    assert observation.failure is not None
    assert "killer" in observation.failure.message


def test_a_process_that_dies_is_a_crash(cache: Path) -> None:
    assert observed_afresh(arguments(cache, architectures={}), CELL, 120.0).ending is not Ending.COMPLETED
    assert observed_afresh(arguments(cache, nonsense=1), CELL, 120.0).ending is Ending.CRASHED


def test_one_that_does_not_answer_is_ended(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "GRACE_SECONDS", 0.001)
    assert observed_afresh(arguments(cache), CELL, 0.0).ending is Ending.TIMEOUT
