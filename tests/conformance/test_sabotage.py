"""No way to spoil the suite leaves a cell green, and the same cells are green in a suite that nobody spoiled."""

import contextlib
from pathlib import Path

import pytest

from conformance.sabotage import SABOTAGE, Sabotage, Stage, sabotage_trial, sabotage_trials
from matrix.stack import Device
from matrix.verdict import Verdict

CELLS = sorted({cell for one in SABOTAGE.values() for cell in one.cells})


def test_there_are_many_ways_in_prefill_generation_and_relations() -> None:
    assert len(SABOTAGE) >= 40
    assert all(len(one.stands_for) > 10 for one in SABOTAGE.values())
    tried = {
        workload: sum(any(cell.endswith(workload) for cell in one.cells) for one in SABOTAGE.values())
        for workload in ("prefill", "generate", "padding_invariance")
    }
    assert min(tried.values()) >= 40


@pytest.mark.parametrize("cell", CELLS)
def test_honest_cells_of_an_honest_suite_are_green(cache: Path, cell: str) -> None:
    @contextlib.contextmanager
    def nothing(stage: Stage):
        yield None

    trial = sabotage_trial(Sabotage("nothing", "nothing is spoiled", (cell,), nothing), cell, Device.CPU, cache)
    assert (trial.verdict, trial.caught) == (Verdict.SUPPORTED, False), trial.reason


@pytest.mark.parametrize("name", SABOTAGE)
def test_nothing_is_left_green(cache: Path, name: str) -> None:
    for trial in sabotage_trials(Device.CPU, cache, name):
        assert trial.caught, f"{trial.cell}: {trial.reason}"
