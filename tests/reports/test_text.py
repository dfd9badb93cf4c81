"""The terminal summary: failures first, each with its reason, its expectation and the command that repeats it."""

import shlex
from dataclasses import replace

import pytest

from conformance.plugin.rows import row_key
from matrix.cell import parse_cell
from matrix.dials import Reading
from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.causes import failure_groups
from reports.document import Process, ProcessMemory, Record, Report, RowRecord, Waived, make_report
from reports.text import failure_lines, headline, reproducing_command, row_command, row_lines, summary_lines
from tests.builders import REFUSED, completed, ended, make_run, read, record_of

ONE, TWO, THREE = "llama-float32-eager-prefill", "llama-float32-sdpa-prefill", "llama-float32-sdpa-flash-left-prefill"
WAIVED = Waived(reason="a fault", url="https://example.org/1")


def report_of(
    *records: Record, missing: tuple[str, ...] = (), problems: tuple[str, ...] = (), rows: tuple[RowRecord, ...] = ()
) -> Report:
    planned = [*(record.cell for record in records), *missing]
    return make_report(make_run(*planned), list(records), rows=list(rows), end=ended(*problems))


def reported(outcome: RowOutcome, name: str = "a_report", **changes: object) -> RowRecord:
    return RowRecord.model_validate({"family": Family.REGRESSION, "name": name, "outcome": outcome, **changes})


def of_a_kernel(outcome: RowOutcome, name: str = "is_right[flash]", **changes: object) -> RowRecord:
    return RowRecord.model_validate({"family": Family.PROPERTY, "name": name, "outcome": outcome, **changes})


def text_of(report: Report) -> list[str]:
    return list(summary_lines(report))


def test_a_failure_says_what_why_and_how_to_see_it_again() -> None:
    record = record_of(ONE, Verdict.ERROR, "TypeError in load: no", expectation=REFUSED)
    (group,) = failure_groups([record])
    assert list(failure_lines(group, {})) == [
        f"ERROR {ONE}",
        "    TypeError in load: no",
        "    expected refused: a page",
        f"    python -m matrix reproduce {ONE} > reproduce.py && python reproduce.py",
    ]


def test_failures_of_one_cause_say_what_the_dials_say_of_all_of_them() -> None:
    turned = Reading("scale", "%", 5.0, 0.03, 0.99)
    cells = ("llama-bfloat16-sdpa-prefill", "llama-bfloat16-sdpa-generate", "llama-bfloat16-sdpa-left-prefill")
    wrong = [record_of(cell, Verdict.INACCURATE, "off by 3") for cell in cells]
    (unread,) = failure_groups(wrong)
    assert not any("dials" in line for line in failure_lines(unread, {}))
    wrong[0] = record_of(cells[0], Verdict.INACCURATE, "off by 3", observation=read(parse_cell(cells[0]), turned))
    (group,) = failure_groups(wrong)
    assert list(failure_lines(group, {}))[2] == (
        "    dials: softmax scale +5.000 ± 0.030 %: explains 99 % of the error in 1 cell; not read in 2 cells"
    )


def test_known_wrong_numbers_are_counted_by_what_explains_them() -> None:
    turned, honest = Reading("scale", "%", 5.0, 0.03, 0.99), Reading("scale", "%", 0.0, 0.03, 0.0)
    cells = {"llama-bfloat16-sdpa-prefill": (turned,), "opt-bfloat16-sdpa-prefill": (honest,), ONE: ()}
    known = [
        record_of(cell, Verdict.INACCURATE, observation=read(parse_cell(cell), *readings), waived=WAIVED)
        for cell, readings in cells.items()
    ]
    assert text_of(report_of(*known))[-2].startswith(
        "known faults: 3 cells with wrong numbers; a dial explains 1, none explains 1, 1 not read"
    )
    others = report_of(record_of(ONE, Verdict.CRASHED, waived=WAIVED), record_of(TWO, Verdict.INACCURATE))
    assert not any("known faults:" in line for line in text_of(others))


def test_failures_come_first_and_the_headline_last() -> None:
    lines = text_of(report_of(record_of(ONE), record_of(TWO, Verdict.INACCURATE, "max error 9 exceeds 1")))
    assert lines[0] == f"INACCURATE {TWO}"
    assert lines[1].strip() == "max error 9 exceeds 1"
    assert reproducing_command(TWO) in lines[3]
    assert lines[-1] == "2 cells, 2 executed: 1 as documented, 1 inaccurate"
    assert not any(ONE in line for line in lines)


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if not verdict.is_documented])
def test_every_verdict_that_fails_is_listed_and_counted(verdict: Verdict) -> None:
    lines = text_of(report_of(record_of(ONE, verdict)))
    assert lines[0] == f"{verdict.upper()} {ONE}"
    assert lines[-1].endswith(f"0 as documented, 1 {verdict}")


@pytest.mark.parametrize(("grown", "said"), [(None, 0), (511.0, 0), (512.0, 1), (float("nan"), 0), (float("inf"), 1)])
def test_what_grew_on_a_gpu_is_said_where_it_is_much(grown: float | None, said: int) -> None:
    had = ProcessMemory(host=1.0, gpu=1.0, beside=900.0, grown=grown, cells=210)
    report = report_of(record_of(ONE)).model_copy(update={"processes": [Process(worker="gw3", began=1.0, memory=had)]})
    lines = [line for line in text_of(report) if "left on the GPU" in line]
    assert len(lines) == said
    assert all("gw3" in line and "210 cells" in line for line in lines)


@pytest.mark.parametrize("verdict", [Verdict.SUPPORTED, Verdict.REFUSED, Verdict.UNAVAILABLE])
def test_a_run_without_failures_lists_none(verdict: Verdict) -> None:
    lines = text_of(report_of(record_of(ONE, verdict)))
    assert len(lines) == 4  # head of the table, its row, an empty line, the headline
    assert ONE not in "".join(lines)
    assert lines[-1].endswith(": 1 as documented")


def test_what_was_required_and_is_not_here_shows() -> None:
    """Unavailable is green, unless --require named what is missing."""
    record = record_of(ONE, Verdict.UNAVAILABLE, "not here: cuda", demanded=["cuda", "flash-attn"])
    lines = text_of(report_of(record))
    assert lines[0] == f"UNAVAILABLE (--require cuda,flash-attn) {ONE}"
    assert lines[-1] == "1 cells, 0 executed: 1 as documented, 1 required but unavailable"


def test_a_waived_fault_is_counted_but_not_listed() -> None:
    lines = text_of(report_of(record_of(ONE, Verdict.INACCURATE, waived=WAIVED), record_of(TWO)))
    assert lines[-1] == "2 cells, 2 executed: 1 as documented, 1 known upstream faults"
    assert not any(line.startswith("INACCURATE") for line in lines)


def test_a_cell_that_was_never_reached_is_listed() -> None:
    lines = text_of(report_of(record_of(ONE), missing=(TWO,)))
    assert lines[0] == f"MISSING {TWO}"
    assert lines[-1] == "2 cells, 1 executed: 1 as documented, 1 missing"


def test_problems_and_unreadable_lines_are_listed_after_failures() -> None:
    run = make_run(ONE)
    report = make_report(run, [record_of(ONE, Verdict.ERROR)], end=ended("a waiver is idle"), unreadable=["line 7"])
    lines = text_of(report)
    assert lines[0].startswith("ERROR")
    assert lines[4:7] == ["PROBLEM a waiver is idle", "PROBLEM line 7", ""]


def test_a_problem_without_a_failing_cell_is_listed() -> None:
    assert text_of(report_of(record_of(ONE), problems=("a waiver is idle",)))[0] == "PROBLEM a waiver is idle"


@pytest.mark.parametrize(("failing", "more"), [(50, None), (51, "1 more"), (60, "10 more")])
def test_a_long_list_of_failures_is_cut_and_says_so(failing: int, more: str | None) -> None:
    cells = [f"a{number}-float32-eager-prefill" for number in range(failing)]
    # Each for a reason of its own, for those of one cause are one entry.
    report = report_of(*(record_of(cell, Verdict.ERROR, cell.partition("-")[0]) for cell in cells))
    lines = text_of(report)
    assert sum(line.startswith("ERROR ") for line in lines) == 50
    assert [line for line in lines if "more causes" in line] == (
        [] if more is None else [f"... and {more} causes of failures; the report has them all"]
    )
    assert headline(report).endswith(f"{failing} error")


def test_failures_of_one_cause_are_one_entry_with_the_shortest_to_reproduce() -> None:
    found = [record_of(cell, Verdict.ERROR, f"max error {at} exceeds 1") for at, cell in enumerate((THREE, TWO, ONE))]
    lines = text_of(report_of(*found, record_of("gpt2-float32-sdpa-prefill", Verdict.ERROR, "another")))
    assert [line for line in lines if line.startswith("ERROR")] == [
        f"ERROR {TWO} and 2 more",
        "ERROR gpt2-float32-sdpa-prefill",
    ]
    assert f"    the same: {ONE}, {THREE}" in lines


def test_a_command_names_the_checkpoint_that_the_cell_ran_on() -> None:
    command = reproducing_command(ONE, 3, {"llama": "a b", "bert": "elsewhere"})
    assert f"reproduce {ONE} --seed 3 --checkpoint 'llama=a b' >" in command
    assert "checkpoint" not in reproducing_command("gpt2-float32-sdpa-prefill", 0, {"llama": "a b"})


def test_verdicts_are_counted_by_backend() -> None:
    lines = text_of(report_of(record_of(ONE), record_of(TWO), record_of(THREE, Verdict.REFUSED)))
    head, *rows = lines[:4]
    assert head.split() == ["supported", "refused"]
    assert [row.split() for row in rows] == [["eager", "1"], ["sdpa", "1"], ["sdpa", "(flash)", "1"]]
    assert len({len(line) for line in [head, *rows]}) == 1
    assert rows[2].endswith("1")
    assert not rows[0].endswith("1")


def test_a_failing_row_says_what_why_with_which_example_where_reported_and_how_to_see_it_again() -> None:
    row = of_a_kernel(
        RowOutcome.VIOLATED,
        reason="AssertionError: nan\n\n  Left contains 8 more items",
        example="Failing test case: test(\n    call=Call(keys=2),\n)",
        urls=["https://example.org/1", "https://example.org/2"],
    )
    assert list(row_lines(row)) == [
        "VIOLATED is_right[flash]",
        "    AssertionError: nan",
        "",
        "      Left contains 8 more items",
        "    Failing test case: test(",
        "        call=Call(keys=2),",
        "    )",
        "    https://example.org/1",
        "    https://example.org/2",
        "    python -m pytest 'conformance/test_sdpa_kernels.py::test_is_right[flash]'",
    ]


@pytest.mark.parametrize("row", [reported(RowOutcome.VIOLATED), of_a_kernel(RowOutcome.VIOLATED)])
def test_the_command_of_a_row_names_the_test_that_measures_it(row: RowRecord) -> None:
    *_, test = shlex.split(row_command(row))
    assert row_key(test) == row.key


def test_the_command_of_a_row_is_one_argument_whatever_its_name() -> None:
    odd = "is_right['; rm -rf / #]"
    assert shlex.split(row_command(of_a_kernel(RowOutcome.VIOLATED, odd)))[3:] == [
        f"conformance/test_sdpa_kernels.py::test_{odd}"
    ]


def test_failing_rows_come_after_failing_cells_and_before_problems() -> None:
    rows = (reported(RowOutcome.VIOLATED, reason="NaN"), of_a_kernel(RowOutcome.MISSING))
    lines = text_of(report_of(record_of(ONE, Verdict.ERROR), problems=("a waiver is idle",), rows=rows))
    heads = [f"ERROR {ONE}", "STILL THERE a_report", "MISSING is_right[flash]", "PROBLEM a waiver is idle"]
    assert [line for line in lines if line in heads] == heads
    assert lines[lines.index(heads[-1]) + 1] == ""


def test_an_empty_line_ends_the_list_of_failing_rows() -> None:
    lines = text_of(report_of(record_of(ONE), rows=(reported(RowOutcome.VIOLATED),)))
    assert lines[:3] == ["STILL THERE a_report", f"    {row_command(reported(RowOutcome.VIOLATED))}", ""]


@pytest.mark.parametrize("outcome", [RowOutcome.HOLDS, RowOutcome.UNAVAILABLE, RowOutcome.VIOLATED])
def test_a_row_that_does_not_fail_is_not_listed(outcome: RowOutcome) -> None:
    waived = WAIVED if outcome is RowOutcome.VIOLATED else None
    report = report_of(record_of(ONE), rows=(reported(outcome, waived=waived), of_a_kernel(outcome, waived=waived)))
    assert report.failing_rows == []
    assert not any("a_report" in line or "is_right" in line for line in text_of(report))
    assert text_of(report)[:2] == text_of(report_of(record_of(ONE)))[:2]


def test_each_family_has_a_line_with_its_counts_after_the_cells() -> None:
    rows = (
        reported(RowOutcome.HOLDS, "a"),
        reported(RowOutcome.VIOLATED, "b", waived=WAIVED),
        reported(RowOutcome.UNAVAILABLE, "c"),
        reported(RowOutcome.UNAVAILABLE, "d"),
        of_a_kernel(RowOutcome.HOLDS, "a[flash]"),
        of_a_kernel(RowOutcome.HOLDS, "a[math]"),
        of_a_kernel(RowOutcome.VIOLATED, "b[flash]"),
        of_a_kernel(RowOutcome.VIOLATED, "b[math]", waived=WAIVED),
        of_a_kernel(RowOutcome.MISSING, "c[math]"),
    )
    report = report_of(record_of(ONE), rows=rows)
    counts = [
        "1 cells, 1 executed: 1 as documented",
        "4 reported failures: 1 fixed, 1 still there (known), 2 not reachable here",
        "5 kernel properties: 2 hold, 2 violated (1 known), 1 missing",
    ]
    assert text_of(report)[-3:] == counts
    assert headline(report) == "; ".join(counts)


def test_one_row_is_spoken_of_as_one() -> None:
    report = report_of(record_of(ONE), rows=(reported(RowOutcome.HOLDS), of_a_kernel(RowOutcome.HOLDS)))
    assert text_of(report)[-2:] == ["1 reported failure: 1 fixed", "1 kernel property: 1 holds"]


def test_a_run_of_rows_alone_does_not_speak_of_cells() -> None:
    assert text_of(report_of(rows=(of_a_kernel(RowOutcome.HOLDS),))) == ["1 kernel property: 1 holds"]


@pytest.mark.parametrize(("failing", "more"), [(50, None), (51, "1 more"), (60, "10 more")])
def test_a_long_list_of_failing_rows_is_cut_and_says_so(failing: int, more: str | None) -> None:
    # Each for a reason of its own, for those of one cause are one entry.
    rows = tuple(reported(RowOutcome.VIOLATED, f"r{number}", reason="x" * number) for number in range(failing))
    lines = text_of(report_of(rows=rows))
    assert sum(line.startswith("STILL THERE ") for line in lines) == 50
    assert [line for line in lines if "more causes" in line] == (
        [] if more is None else [f"... and {more} causes of rows that fail; the report has them all"]
    )


def test_rows_of_one_cause_are_one_entry() -> None:
    rows = [reported(RowOutcome.MISSING, f"r{number}", reason=f"after {number} s") for number in range(9)]
    lines = text_of(report_of(rows=(*rows, reported(RowOutcome.VIOLATED, reason="after 1 s"))))
    assert lines[:3] == ["MISSING r0 and 8 more", "    after 0 s", f"    {row_command(rows[0])}"]
    assert lines[3] == "    the same: r1, r2, r3, r4, r5, r6 and 2 more"
    assert lines[4] == "STILL THERE a_report"


def test_cells_that_could_not_have_seen_a_wrong_scale_are_counted() -> None:
    cells = [f"llama-float32-sdpa-{side}-prefill" for side in ("left", "right")]
    weak, strong = (
        completed(parse_cell(cell), wrong_scale=moved) for cell, moved in zip(cells, (0.1, 9.0), strict=True)
    )
    records = [record_of(cells[0], observation=weak), record_of(cells[1], observation=strong)]
    lines = text_of(make_report(make_run(*cells), records))
    assert [line for line in lines if line.startswith("weak")] == [
        "weak: in 1 of 2 supported cells, of 1 architectures, a softmax scale wrong by 10 % would pass"
    ]


def test_cells_that_leave_experts_unquantised_are_counted() -> None:
    cells = [f"mixtral-bfloat16-sdpa-nf4-{side}-prefill" for side in ("left", "right")]
    whole = completed(parse_cell(cells[0]))
    half = replace(whole, evidence=replace(whole.evidence, unquantised_stacked=0.55))
    records = [record_of(cells[0], observation=whole), record_of(cells[1], observation=half)]
    lines = text_of(make_report(make_run(*cells), records))
    assert [line for line in lines if line.startswith("left")] == [
        "left unquantised: 1 of 2 supported quantised cells keep experts or other stacked parameters as they are, "
        "up to 55% of the bytes (mixtral)"
    ]
