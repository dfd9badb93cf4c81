"""A run with trouble held against the same run without it: whatever is not as it is to be is found."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from conformance.trouble.catalogue import STEERING, TROUBLES
from conformance.trouble.checking import Ended, attributed, held_against
from conformance.trouble.orders import Moment
from matrix.cell import parse_cell
from matrix.observation import Ending, Failure, Observation, Phase
from matrix.verdict import Verdict
from reports.document import Record, make_report
from reports.records import RecordWriter
from reports.trouble import Attribution, TroubledRun
from reports.write import write_html, write_json, write_summary
from tests.builders import completed, ended, make_run, record_of
from tests.conformance.trouble.test_orders import GENERATE, OTHERS, PREFILL

CELLS = [PREFILL, *OTHERS, GENERATE]
PLANTED = {PREFILL: ("system_exit", Moment.FORWARD), GENERATE: ("default_dtype", Moment.AFTER)}


def failed(kind: str, phase: Phase = Phase.FORWARD) -> Observation:
    return Observation(Ending.RAISED, failure=Failure(phase, kind, "0"))


def left(*changed: str) -> Observation:
    whole = completed(parse_cell(GENERATE))
    return dataclasses.replace(whole, evidence=dataclasses.replace(whole.evidence, leaks=changed))


RIGHT = {
    PREFILL: record_of(PREFILL, Verdict.ERROR, observation=failed("SystemExit")),
    GENERATE: record_of(GENERATE, observation=left("default dtype: torch.float32 -> torch.float64")),
    **{cell: record_of(cell) for cell in OTHERS},
}


def judged(
    folder: Path, records: dict[str, Record], *, files: bool = True, twice: str = "", **changes: Any
) -> tuple[TroubledRun, list[Attribution]]:
    """What is said of a run that left these records behind."""
    run = make_run(*CELLS)
    report = make_report(run, list(records.values()), end=ended())
    writer = RecordWriter(folder / "records.jsonl", run)
    for record in [*records.values(), *([records[twice]] if twice else [])]:
        writer.write(record)
    writer.close()
    if files:
        write_json(report, folder)
        write_html(report, folder)
        write_summary(report, folder)
    given: dict[str, Any] = {"status": 1, "seconds": 9.0, "folder": folder, "struck": frozenset(PLANTED), **changes}
    return held_against(dict.fromkeys(CELLS, Verdict.SUPPORTED), "-n 1", PLANTED, Ended(**given))


def test_a_run_in_which_all_is_as_it_is_to_be_has_nothing_wrong(tmp_path: Path) -> None:
    run, found = judged(tmp_path, RIGHT)
    assert (run.planned, run.met, run.status) == (len(CELLS), 2, 1)
    assert (run.changed, run.lost, run.helped, run.problems) == ([], [], [], [])
    assert [(one.trouble, one.moment, one.phase, one.wrong) for one in found] == [
        ("system_exit", "forward", "forward", []),
        ("default_dtype", "after", "", []),
    ]


@pytest.mark.parametrize(
    ("cell", "record", "wrong"),
    [
        (PREFILL, record_of(PREFILL, Verdict.CRASHED, observation=failed("SystemExit")), "crashed instead of error"),
        (PREFILL, record_of(PREFILL), "supported instead of error"),
        (
            PREFILL,
            record_of(PREFILL, Verdict.ERROR, observation=failed("SystemExit", Phase.LOAD)),
            "in phase load instead of forward",
        ),
        (PREFILL, record_of(PREFILL, Verdict.ERROR, observation=failed("OSError")), "OSError instead of SystemExit"),
        (GENERATE, record_of(GENERATE, Verdict.FLAKY), "flaky instead of supported"),
        (
            GENERATE,
            record_of(GENERATE, observation=left("gradients")),
            "that it left default dtype changed is not said",
        ),
    ],
)
def test_a_wrong_attribution_is_found(tmp_path: Path, cell: str, record: Record, wrong: str) -> None:
    _, found = judged(tmp_path, {**RIGHT, cell: record})
    (said,) = [line for one in found for line in one.wrong]
    assert said.startswith(wrong)


def test_a_cell_that_answers_for_another_is_found_and_one_that_was_helped_is_told(tmp_path: Path) -> None:
    helped = record_of(OTHERS[1], first_verdict=Verdict.INACCURATE)
    records = {**RIGHT, OTHERS[0]: record_of(OTHERS[0], Verdict.INACCURATE), OTHERS[1]: helped}
    run, _ = judged(tmp_path, records)
    assert [(one.cell, one.was, one.now) for one in run.changed] == [(OTHERS[0], "supported", "inaccurate")]
    assert run.helped == [OTHERS[1]]


@pytest.mark.parametrize("cell", [PREFILL, OTHERS[0]])
def test_a_lost_record_is_found(tmp_path: Path, cell: str) -> None:
    run, _ = judged(tmp_path, {name: record for name, record in RIGHT.items() if name != cell})
    assert run.lost == [cell]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"files": False}, "no report: "),
        ({"twice": OTHERS[0]}, f"{OTHERS[0]} was told 2 times"),
        ({"status": 0}, "exit status 0 though 1 cells fail"),
        ({"output": b"FAILED " + STEERING.encode()}, "a message steers the terminal"),
        ({"processes": ["python"]}, "a process went on: python"),
    ],
)
def test_what_is_wrong_with_a_run_as_a_whole_is_found(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    run, _ = judged(tmp_path, RIGHT, **changes)
    assert [said for said in run.problems if said.startswith(problem)]


def test_a_half_written_report_is_found(tmp_path: Path) -> None:
    judged(tmp_path, RIGHT)
    (tmp_path / "summary.md").unlink()
    run, _ = held_against({}, "-n 1", {}, Ended(1, 1.0, tmp_path, frozenset()))
    assert run.problems == ["summary.md is not there"]


def test_what_never_struck_is_never_right(tmp_path: Path) -> None:
    _, found = judged(tmp_path, RIGHT, struck=frozenset())
    assert [one.wrong for one in found] == [["it has never struck"]] * len(PLANTED)


def test_where_nothing_failed_no_phase_is_named() -> None:
    found = attributed("-n 1", TROUBLES["flood"], Moment.LOAD, record_of(PREFILL), struck=True)
    assert (found.phase, found.wrong) == ("", [])
