"""A campaign of few kinds over real cells: all stays where it is. What can go wrong in a run is in test_checking.py."""

from pathlib import Path

import pytest

from conformance.trouble.campaign import Conditions, chosen_cells, chosen_troubles, measure, run_pytest
from conformance.trouble.catalogue import TROUBLES
from conformance.trouble.orders import Moment, Orders
from conformance.trouble.planting import Scene
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.observation import Phase
from reports.trouble import wrong_in
from tests.builders import make_stack
from tests.conformance.trouble.test_orders import GENERATE, PREFILL

KINDS = ("abort", "keyboard_interrupt", "sdpa_patched")
CELLS = [
    f"gpt2-{dtype}-sdpa-{padding}{workload}"
    for dtype in ("float32", "float16", "bfloat16")
    for padding in ("", "left-")
    for workload in ("prefill", "generate")
] + ["gpt2-float32-eager-prefill", "gpt2-float32-eager-generate"]


@pytest.fixture
def conditions(tmp_path: Path, cache: Path) -> Conditions:
    return Conditions(tmp_path, cache, cell_timeout=60.0, grace=5.0, limit=240.0)


def test_a_few_kinds_in_a_real_run_stay_where_they_are(conditions: Conditions) -> None:
    stack = make_stack()
    campaign = measure(stack, CELLS, chosen_troubles(KINDS, stack), [1], conditions)
    assert list(wrong_in(campaign)) == []
    assert {(one.trouble, one.moment) for one in campaign.attributions} == {
        (name, moment) for name in KINDS for moment in TROUBLES[name].moments
    }
    (run,) = campaign.runs
    assert (run.planned, run.met, run.status) == (len(CELLS), 7, 1)


def test_a_run_that_does_not_end_is_ended_and_so_is_all_that_it_started(conditions: Conditions) -> None:
    short = Conditions(conditions.folder, conditions.fixture_cache, 60.0, 5.0, limit=0.01)
    found = run_pytest("-n 1", [PREFILL], 1, {}, short)
    assert found.status is None


def test_cells_are_of_the_plan_and_half_of_them_generate() -> None:
    cells = chosen_cells(make_stack(), 60)
    assert len(cells) == len(set(cells)) == 60
    assert sum(cell.endswith("generate") for cell in cells) == 30


def test_an_unknown_trouble_is_named() -> None:
    with pytest.raises(UsageError, match="'gravity': allowed are abort, "):
        chosen_troubles(["gravity"], make_stack())


def test_it_strikes_in_its_phase_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    struck: list[str] = []
    monkeypatch.setattr(Scene, "reaches", lambda self, moment: struck.append(moment))
    scene = Scene(Orders())
    for phase in (Phase.LOAD, Phase.FORWARD, Phase.GENERATE, Phase.REFERENCE):
        scene.enters(parse_cell(GENERATE), phase)
        scene.loaded()
        for _ in range(9):
            scene.called()
    assert struck == [Moment.LOAD, Moment.FORWARD, Moment.GENERATE]


def test_that_it_struck_is_written_down_before_it_does(tmp_path: Path) -> None:
    orders = Orders(planted={PREFILL: ("system_exit", Moment.LOAD)}, report_dir=str(tmp_path / "out"))
    scene = Scene(orders)
    scene.enters(parse_cell(PREFILL), Phase.LOAD)
    with pytest.raises(SystemExit):
        scene.loaded()
    assert orders.struck.read_text() == f"{PREFILL}\n"
