"""Runs that are ended from outside: they say so, lose nothing, and go on."""

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import record_of
from tests.sessions import Session, run_pytest

CELLS = [
    "gpt2-float32-eager-prefill",
    "gpt2-float32-sdpa-prefill",
    "llama-float32-eager-prefill",
    "opt-float32-eager-prefill",
]
CHOSEN = [*(f"--cell={cell}" for cell in CELLS), "-n", "1"]


def ended_by(folder: Path, signal: str, *arguments: str) -> Session:
    """A run in which that signal comes while the third cell is measured."""
    return run_pytest(folder, *(arguments or CHOSEN), sabotage={CELLS[2]: signal})


def measured(session: Session) -> dict[str, Any]:
    return {record.cell: (record.verdict, record.reason, record.bounds) for record in session.report.records}


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_run_with_its_report(tmp_path: Path, signal: str) -> None:
    session = ended_by(tmp_path / "out", signal)
    assert session.status == 2
    assert session.verdicts[CELLS[0]] == "supported"
    assert session.verdicts[CELLS[2]] == "missing"
    assert session.report.cut_off.startswith(f"the run was cut off: {signal}; ")
    assert "CUT OFF before its end" in session.output
    assert "Traceback" not in session.output
    assert "the run was cut off" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("signals", ["SIGINT SIGTERM", "SIGTERM SIGINT", "SIGHUP SIGTERM"])
def test_of_two_signals_one_counts_and_the_report_is_whole(tmp_path: Path, signals: str) -> None:
    session = ended_by(tmp_path / "out", signals)
    assert session.status == 2
    assert session.verdicts[CELLS[0]] == "supported"
    assert session.report.cut_off.startswith("the run was cut off: SIG")
    assert "Traceback" not in session.output
    assert (tmp_path / "out" / "summary.md").is_file()


def test_a_fault_of_the_suite_itself_is_said_and_what_was_measured_is_told(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, sabotage={CELLS[2]: "break the controller"})
    assert session.status == 3
    assert session.report.cut_off.startswith("the run was cut off: an internal error; ")
    assert session.verdicts[CELLS[0]] == "supported"
    again = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert (again.status, again.verdicts) == (0, dict.fromkeys(CELLS, "supported"))


def test_a_run_whose_workers_are_no_longer_replaced_says_so(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "--max-worker-restart=0", sabotage={CELLS[1]: "crash"})
    assert session.status == 1
    assert session.verdicts[CELLS[3]] == "missing"
    assert "the run was cut off: 1 of its workers died, of which --max-worker-restart=0 let no more" in session.output
    assert session.report.cut_off


WITHOUT_WORKERS = [*CHOSEN[:-2], "-p", "no:xdist"]


def test_without_workers_a_run_that_is_ended_goes_on_too(tmp_path: Path) -> None:
    undisturbed = run_pytest(tmp_path / "undisturbed", *WITHOUT_WORKERS)
    for signal in ("SIGTERM", "SIGINT SIGTERM"):
        session = ended_by(tmp_path / "out", signal, *WITHOUT_WORKERS)
        assert session.status == 2, session.output
        assert session.report.cut_off.startswith("the run was cut off: SIG")
        assert list(session.verdicts.values()) == ["supported", "supported", "missing", "missing"]
    killed = ended_by(tmp_path / "out", "SIGKILL", *WITHOUT_WORKERS)
    assert killed.status == -9
    again = run_pytest(tmp_path / "out", *WITHOUT_WORKERS, resume=True)
    assert again.status == 0, again.output
    assert measured(again) == measured(undisturbed)


def test_a_run_that_was_killed_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    undisturbed = run_pytest(tmp_path / "undisturbed", *CHOSEN)
    killed = ended_by(tmp_path / "out", "SIGKILL")
    assert killed.status == -9
    assert killed.report.cut_off.startswith("the run was cut off: nothing says that it ended; 2 of 4 have no record")
    assert not (tmp_path / "out" / "matrix.json").exists()
    again = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert again.status == 0, again.output
    assert measured(again) == measured(undisturbed)
    assert list(again.verdicts) == list(undisturbed.verdicts), "in plan order"
    assert not again.report.cut_off
    assert len(again.report.run.resumed) == 1
    assert [record.worker for record in again.report.records] == ["gw0", "gw0", "1-gw0", "1-gw0"]
    assert again.report.run.started == killed.report.run.started


def test_it_goes_on_as_often_as_it_is_cut_off_and_once_more_when_nothing_is_left(tmp_path: Path) -> None:
    ended_by(tmp_path / "out", "SIGKILL")
    run_pytest(tmp_path / "out", *CHOSEN, resume=True, sabotage={CELLS[3]: "SIGTERM"})
    third = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert [record.worker for record in third.report.records] == ["gw0", "gw0", "1-gw0", "2-gw0"]
    fourth = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert (third.status, fourth.status) == (0, 0), fourth.output
    assert measured(fourth) == measured(third)


def test_a_fault_that_was_found_before_still_fails_the_run(tmp_path: Path) -> None:
    run_pytest(tmp_path / "out", *CHOSEN, sabotage={CELLS[0]: "err", CELLS[2]: "SIGKILL"})
    again = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert again.status == 1
    assert again.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[0]: "inaccurate"}


def test_it_goes_on_through_the_link_to_the_latest_run(tmp_path: Path) -> None:
    real = tmp_path / "out" / "run"
    ended_by(real, "SIGKILL")
    assert (tmp_path / "out" / "latest").readlink() == Path("run")
    again = run_pytest(tmp_path / "out" / "latest", *CHOSEN, resume=True)
    assert again.status == 0, again.output
    assert (tmp_path / "out" / "latest").readlink() == Path("run")
    assert len(again.report.records) == len(CELLS)


@pytest.mark.parametrize("part", [["--shard=2/2"], ["-k", "not opt"]])
def test_a_part_of_a_plan_goes_on_as_that_part(tmp_path: Path, part: list[str]) -> None:
    undisturbed = run_pytest(tmp_path / "undisturbed", *CHOSEN, *part)
    cells = list(undisturbed.verdicts)
    assert 1 < len(cells) < len(CELLS)
    run_pytest(tmp_path / "out", *CHOSEN, *part, sabotage={cells[1]: "SIGKILL"})
    again = run_pytest(tmp_path / "out", *CHOSEN, *part, resume=True)
    assert again.status == 0, again.output
    assert measured(again) == measured(undisturbed)
    assert again.report.run.shard == undisturbed.report.run.shard
    assert again.report.records[0].worker == "gw0"


def test_a_report_folder_that_is_taken_away_costs_no_other_cell_anything(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, sabotage={CELLS[1]: "take the folder away and crash"})
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[1]: "crashed"}
    assert session.status == 1


def test_half_a_line_is_measured_anew(tmp_path: Path) -> None:
    ended_by(tmp_path / "out", "SIGKILL")
    lines = tmp_path / "out" / "records.jsonl"
    lines.write_bytes(lines.read_bytes()[:-40])
    again = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert again.status == 0
    assert [record.worker for record in again.report.records] == ["gw0", "1-gw0", "1-gw0", "1-gw0"]
    assert again.report.unreadable == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["--seed=1"], "seed was 0, is 1"),
        (["--profile=full"], "profile was smoke, is full"),
        (["--cell-timeout=9"], "options was --cell-timeout 300, is --cell-timeout 9"),
        (["--require=torch"], "required was nothing, is torch"),
        (["--cell=bloom-float32-eager-prefill"], "its plan lacked 1 cells that this one holds (bloom-"),
        (["-k", "not opt"], "its plan held 1 cells that this one lacks (opt-"),
    ],
)
def test_another_run_is_refused_and_nothing_that_is_there_is_touched(
    tmp_path: Path, changed: list[str], says: str
) -> None:
    ended_by(tmp_path / "out", "SIGKILL")
    before = (tmp_path / "out" / "records.jsonl").read_bytes()
    refused = run_pytest(tmp_path / "out", *CHOSEN, *changed, resume=True)
    assert refused.status == 4
    assert says in refused.output
    assert "Traceback" not in refused.output
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == before


def test_another_stack_is_refused(tmp_path: Path) -> None:
    ended_by(tmp_path / "out", "SIGKILL")
    lines = tmp_path / "out" / "records.jsonl"
    run, rest = lines.read_text().split("\n", 1)
    told = json.loads(run)
    told["stack"]["versions"]["transformers"] = "4.0.0"
    told["stack"]["gpus"] = [{"name": "NVIDIA L4", "memory_mib": 1, "capability": "8.9"}]
    lines.write_text(f"{json.dumps(told)}\n{rest}")
    refused = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert refused.status == 4
    assert "transformers was 4.0.0, is " in refused.output
    assert "gpus was NVIDIA L4, is nothing" in refused.output


def test_records_of_what_was_never_planned_are_refused(tmp_path: Path) -> None:
    ended_by(tmp_path / "out", "SIGKILL")
    with (tmp_path / "out" / "records.jsonl").open("a") as lines:
        lines.write(f"{record_of('bloom-float32-eager-prefill').model_dump_json()}\n")
    refused = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert refused.status == 4
    assert "it holds 'bloom-float32-eager-prefill', which is not in its plan" in refused.output


def test_what_is_no_run_cannot_go_on(tmp_path: Path) -> None:
    nothing = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert nothing.status == 4
    assert "no records.jsonl there; name the report folder of a run" in nothing.output
    both = run_pytest(tmp_path / "out", *CHOSEN, f"--resume={tmp_path}")
    assert both.status == 4
    assert "the report of --resume goes to its own folder" in both.output


def test_a_folder_in_which_another_run_writes_is_left_to_it(tmp_path: Path) -> None:
    first = run_pytest(tmp_path / "out", *CHOSEN)
    before = (tmp_path / "out" / "records.jsonl").read_bytes()
    with (tmp_path / "out" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = run_pytest(tmp_path / "out", *CHOSEN)
    assert (first.status, second.status) == (0, 4)
    assert "another run writes there; name another folder" in second.output
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == before


def test_a_link_in_the_report_folder_is_replaced_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in ("records.jsonl", "matrix.json", "index.html", "summary.md"):
        (tmp_path / "out" / name).symlink_to(mine)
    session = run_pytest(tmp_path / "out", *CHOSEN)
    assert session.status == 0
    assert mine.read_text() == "mine"
    assert len(session.report.records) == len(CELLS)


def test_a_full_disk_is_one_line_and_what_was_measured_is_told(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, sabotage={"disk": "6500"})
    assert session.status == 1
    assert "records.jsonl cannot be written to: File too large" in session.output
    assert "CUT OFF before its end\n4 cells, " in session.output
    assert "the report cannot be written to out: File too large" in session.output
    assert "Traceback" not in session.output
    assert "INTERNALERROR" not in session.output
    assert not (tmp_path / "out" / "index.html").exists(), "whole or not at all"
    again = run_pytest(tmp_path / "out", *CHOSEN, resume=True)
    assert again.status == 0
    assert again.verdicts == dict.fromkeys(CELLS, "supported")
    assert again.report.unreadable == []
    assert again.report.records[0].worker == "gw0"


def test_stopping_at_the_first_failure_is_said(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-x", sabotage={CELLS[0]: "err"})
    assert session.status == 1
    assert "the run was cut off: stopping after 1 failures; " in session.output


def test_a_run_without_tests_leaves_no_folder(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-k", "nothing_of_the_kind")
    assert session.status == 5
    assert not (tmp_path / "out").exists()
