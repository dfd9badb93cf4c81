"""The front of a site: devices, architectures and rows release by release, and data that no page can be broken with."""

import json
from typing import Any

import pytest

from matrix.cell import parse_cell
from matrix.expectation import Expectation, Outcome
from matrix.observation import Phase
from matrix.rows import Family, RowOutcome
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.document import ArchitectureFacts, Report, RowRecord, make_report
from reports.front import Measured, facts_of, front_json, front_of
from reports.intervals import CameTo
from reports.runs import Published
from reports.support import State, all_series, state_of
from tests.builders import ROOT, completed, cuda_stack, ended, make_run, make_stack, record_of

SDPA, EAGER, FLASH = "llama-bfloat16-sdpa-prefill", "llama-float32-eager-prefill", "llama-bfloat16-sdpa-flash-prefill"
NF4 = "llama-bfloat16-sdpa-nf4-prefill"


def row(name: str, outcome: RowOutcome, reason: str = "", family: Family = Family.REGRESSION) -> RowRecord:
    return RowRecord(family=family, name=name, outcome=outcome, reason=reason)


def run(version: str, verdicts: dict[str, Verdict], *rows: RowRecord, stack: Any = make_stack) -> Report:
    made: Stack = stack({"transformers": version})
    records = [record_of(cell, verdict) for cell, verdict in verdicts.items()]
    return make_report(make_run(*verdicts, stack=made), records, rows=list(rows), end=ended())


def front(*reports: Report) -> list[Measured]:
    runs = [Published(f"run-{number}", ROOT, report) for number, report in enumerate(reports)]
    return front_of(all_series(reports), runs)


def test_an_entry_shows_since_when_and_that_there_is_more_to_tell() -> None:
    right, wrong = Verdict.SUPPORTED, Verdict.INACCURATE
    (one,) = front(run("5.22.2", {SDPA: wrong, EAGER: right}), run("5.23.0", {SDPA: right, EAGER: right}))
    (group,) = one.groups
    shown = group.rows["llama"]
    assert (shown["sdpa"].release, shown["sdpa"].noted) == ("5.23.0", True)
    assert (shown["eager"].release, shown["eager"].noted) == ("≤ 5.22.2", False)
    assert shown["sdpa"].words == "supported since 5.23.0; wrong in 5.22.2"
    assert group.counts == {CameTo.SUPPORTED: 1}


def test_the_front_and_the_page_of_intervals_say_the_same_of_the_same_runs() -> None:
    right, wrong = Verdict.SUPPORTED, Verdict.INACCURATE
    for old, new in (("5.22.2", "5.23.0"), ("4.57.6", "5.0.0"), ("4.48.3", "4.57.6"), ("4.57.6", "5.1.0")):
        (one,) = front(run(old, {SDPA: wrong}), run(new, {SDPA: right}))
        (history,) = one.series.tables[0].rows["llama"]["sdpa"]
        assert one.groups[0].rows["llama"]["sdpa"].words == f"supported {history.words}"


def test_what_newer_releases_do_not_say_is_past() -> None:
    (one,) = front(run("4.48.3", {SDPA: Verdict.REFUSED}), run("5.23.0", {EAGER: Verdict.SUPPORTED}))
    shown = one.groups[0].rows["llama"]["sdpa"]
    assert (shown.past, shown.release) == (True, "to 4.48.3")


@pytest.mark.parametrize(
    ("newest", "counts"),
    [({EAGER: Verdict.SUPPORTED}, {CameTo.SUPPORTED: 1}), ({EAGER: Verdict.ERROR}, {CameTo.WRONG: 1})],
)
def test_what_is_past_counts_only_of_an_architecture_of_which_nothing_newer_is_known(
    newest: dict[str, Verdict], counts: dict[CameTo, int]
) -> None:
    old = run("4.48.3", {SDPA: Verdict.REFUSED, EAGER: Verdict.SUPPORTED})
    (one,) = front(old, run("5.23.0", newest))
    assert one.groups[0].counts == counts
    (one,) = front(run("4.48.3", {SDPA: Verdict.INACCURATE}), run("5.23.0", newest))
    assert one.groups[0].counts == counts
    gemma = {"gemma2-float32-sdpa-prefill": Verdict.INACCURATE}
    (one,) = front(run("4.48.3", gemma), run("5.23.0", {EAGER: Verdict.SUPPORTED}))
    assert one.groups[0].counts == {CameTo.SUPPORTED: 1, CameTo.WRONG: 1}


def test_a_kernel_that_is_pinned_stands_last_and_what_is_quantised_is_in_no_table_but_in_answers() -> None:
    (one,) = front(run("5.23.0", dict.fromkeys([FLASH, SDPA, EAGER, NF4], Verdict.SUPPORTED)))
    assert one.groups[0].backends == ("eager", "sdpa", "sdpa (flash)")
    assert [(s.backend, s.dtype, s.quantisation) for s in one.subjects] == [
        ("eager", "float32", "none"),
        ("sdpa", "bfloat16", "none"),
        ("sdpa (flash)", "bfloat16", "none"),
        ("sdpa", "bfloat16", "nf4"),
    ]


def test_what_is_wrong_of_weights_that_lie_apart_is_an_answer_and_no_fault_of_the_backend() -> None:
    apart = {
        "llama-float32-sdpa-left-prefill": Verdict.SUPPORTED,
        "llama-float32-sdpa-disk-left-prefill": Verdict.ERROR,
    }
    (one,) = front(run("5.1.0", apart))
    (shown,) = (group.rows["llama"]["sdpa"] for group in one.groups)
    assert shown.words == "supported since ≤ 5.1.0"
    (subject,) = one.subjects
    assert [trouble.cell for outcome in subject.outcomes if outcome for trouble in outcome.troubles] == [
        "llama-float32-sdpa-disk-left-prefill"
    ]


def test_gpus_stand_before_cpus_and_never_mix() -> None:
    right = {SDPA: Verdict.SUPPORTED}
    found = front(run("5.23.0", right), run("5.23.0", {SDPA: Verdict.ERROR}, stack=cuda_stack))
    assert [(one.series.device, one.subjects[0].spans[0].came_to) for one in found] == [
        ("NVIDIA H100", CameTo.WRONG),
        ("CPU", CameTo.SUPPORTED),
    ]


def test_of_several_runs_of_one_release_the_worst_counts() -> None:
    (one,) = front(run("5.23.0", {SDPA: Verdict.ERROR}), run("5.23.0", {SDPA: Verdict.SUPPORTED}))
    (trouble,) = one.subjects[0].outcomes[0].troubles
    assert (trouble.verdict, trouble.run) == (Verdict.ERROR, "run-0")


@pytest.mark.parametrize(
    ("changes", "state"), [({}, State.SUPPORTED), ({"attn_implementations": {"LlamaModel": "eager"}}, State.WRONG)]
)
def test_what_is_right_although_a_refusal_is_documented_works_if_it_is_what_ran(
    changes: dict[str, Any], state: State
) -> None:
    cell, seen = parse_cell(SDPA), completed(parse_cell(SDPA))
    evidence = {**vars(seen.evidence), **changes}
    record = record_of(
        cell.id,
        Verdict.UNEXPECTED,
        expectation=Expectation(Outcome.REFUSED, "a page", Phase.LOAD, "ValueError", "no"),
        observation=completed(cell, evidence=type(seen.evidence)(**evidence)),
    )
    assert state_of(record, make_stack().device) is state


def test_rows_say_from_when_to_when_a_failure_is_there_and_what_came_and_went_stands_first() -> None:
    steady, moved = row("steady", RowOutcome.VIOLATED, "x 3"), "moved"
    reports = [
        run("4.48.3", {SDPA: Verdict.SUPPORTED}, steady, row(moved, RowOutcome.VIOLATED)),
        run("4.57.6", {SDPA: Verdict.SUPPORTED}, steady, row(moved, RowOutcome.UNAVAILABLE)),
        run("5.23.0", {SDPA: Verdict.SUPPORTED}, row("steady", RowOutcome.VIOLATED, "y"), row(moved, RowOutcome.HOLDS)),
    ]
    (one,) = front(*reports)
    assert [[step.words for step in told.steps] for told in one.told] == [
        ["fixed since ≤ 5.23.0", "still there in 4.48.3"],
        ["still there since ≤ 4.48.3"],
    ]


def test_a_refusal_in_other_words_is_a_step_whatever_the_numbers_in_it() -> None:
    said = ["needs <4.49 but found 4.49.0", "needs <4.49 but found 4.57.6", "no attribute"]
    reports = [
        run(version, {SDPA: Verdict.SUPPORTED}, row("bt", RowOutcome.REFUSED, reason, Family.GUIDE))
        for version, reason in zip(("4.49.0", "4.57.6", "5.23.0"), said, strict=True)
    ]
    (one,) = front(*reports)
    assert [(step.words, step.reason) for step in one.told[0].steps] == [
        ("refused since ≤ 5.23.0", "no attribute"),
        ("refused in 4.49.0 to 4.57.6", "needs <4.49 but found 4.57.6"),
    ]
    assert len(one.told[0].spans) == 1


def test_what_an_architecture_is_follows_the_newest_report_that_knows_and_else_this_suite() -> None:
    facts = ArchitectureFacts(kind="decoder", family="text decoder", traits=["gqa"], model_type="llama")
    bare = facts.model_copy(update={"traits": [], "family": "x"})
    reports = [
        make_report(make_run(SDPA, architectures={"llama": one}), [record_of(SDPA)], end=ended())
        for one in (facts, bare)
    ]
    assert facts_of(reports)["llama"].traits == ["gqa"]
    assert facts_of([])["falcon_alibi"].model_type == "falcon"


def test_the_data_of_a_page_ends_no_script_and_keeps_each_value_once() -> None:
    said = "</script><script>alert(1)</script>"
    report = make_report(
        make_run(SDPA), [record_of(SDPA, Verdict.ERROR, said), record_of(EAGER, Verdict.ERROR, said)], end=ended()
    )
    asked, answers = front_json(front(report), facts_of([report]))
    assert "<" not in asked + answers
    assert json.loads(answers)["values"].count(said) == 1
