"""A cell alone in a fresh process: what it observes, and what is said when no answer comes."""

from pathlib import Path
from typing import Any

import pytest

from conformance import interruption
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


def test_a_process_that_dies_is_a_crash(cache: Path) -> None:
    assert observed_afresh(arguments(cache, architectures={}), CELL, 120.0).ending is not Ending.COMPLETED
    assert observed_afresh(arguments(cache, nonsense=1), CELL, 120.0).ending is Ending.CRASHED


def test_one_that_does_not_answer_is_ended(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "GRACE_SECONDS", 0.001)
    assert observed_afresh(arguments(cache), CELL, 0.0).ending is Ending.TIMEOUT
