import json
import os
import shutil
import time
from pathlib import Path

import pytest

from conformance.plugin.breadcrumbs import leave_breadcrumb, read_breadcrumb
from conformance.plugin.watchdog import Watchdog
from tests.sessions import run_pytest

CELLS = ["gpt2-float32-eager-prefill", "llama-float32-eager-prefill"]


@pytest.fixture
def crumbs(tmp_path: Path) -> Path:
    leave_breadcrumb(tmp_path / "gw0", {"cell": CELLS[0], "phase": "load", "deadline": 1000.0})
    leave_breadcrumb(tmp_path / "gw1", {"cell": CELLS[1], "phase": "load", "deadline": 5000.0})
    leave_breadcrumb(tmp_path / "gw2", {"row": "property:p"})
    (tmp_path / "gw3").write_text("half a lin")
    return tmp_path


def test_a_worker_that_should_have_ended_itself_long_ago_is_named(crumbs: Path) -> None:
    dog = Watchdog(crumbs, 300.0, lambda cell: False)
    assert list(dog.overdue(1400.0)) == []
    assert list(dog.overdue(1500.0)) == [os.getpid()]


def test_one_that_has_nothing_to_do_is_not(crumbs: Path) -> None:
    assert list(Watchdog(crumbs, 300.0, lambda cell: cell == CELLS[0]).overdue(1500.0)) == []


def test_a_folder_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "crumbs" / "gw0"
    leave_breadcrumb(path, {"row": "a"})
    shutil.rmtree(path.parent)
    leave_breadcrumb(path, {"row": "b"})
    assert read_breadcrumb(path) == {"process": os.getpid(), "row": "b"}


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    leave_breadcrumb(tmp_path / "file" / "gw0", {"row": "a"})
    assert read_breadcrumb(tmp_path / "file" / "gw0") is None


def test_a_cell_that_takes_its_process_down_and_leaves_no_trace_is_not_tried_for_ever(tmp_path: Path) -> None:
    chosen = [f"--cell={cell}" for cell in CELLS]
    session = run_pytest(tmp_path / "out", *chosen, "-n", "1", sabotage={CELLS[0]: "crash without a trace"})
    assert session.status == 1
    assert session.verdicts == {CELLS[0]: "crashed", CELLS[1]: "supported"}


def test_what_a_breadcrumb_says_is_one_object(tmp_path: Path) -> None:
    (tmp_path / "gw0").write_text(json.dumps([time.time()]))
    assert read_breadcrumb(tmp_path / "gw0") is None
