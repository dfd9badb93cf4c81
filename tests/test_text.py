"""The terminal summary: failures first, each with its reason, its expectation and the command that repeats it."""

import pytest

from matrix.verdict import Verdict
from reports.document import Record, Report, Waived, make_report
from reports.text import failure_lines, headline, reproducing_command, summary_lines
from tests.builders import REFUSED, ended, make_run, record_of

ONE, TWO, THREE = "llama-float32-eager-prefill", "llama-float32-sdpa-prefill", "llama-float32-sdpa-flash-left-prefill"
WAIVED = Waived(reason="a fault", url="https://example.org/1")


def report_of(*records: Record, missing: tuple[str, ...] = (), problems: tuple[str, ...] = ()) -> Report:
    planned = [*(record.cell for record in records), *missing]
    return make_report(make_run(*planned), list(records), end=ended(*problems))


def text_of(report: Report) -> list[str]:
    return list(summary_lines(report))


def test_a_failure_says_what_why_and_how_to_see_it_again() -> None:
    record = record_of(ONE, Verdict.ERROR, "TypeError in load: no", expectation=REFUSED)
    assert list(failure_lines(record)) == [
        f"ERROR {ONE}",
        "    TypeError in load: no",
        "    expected refused: a page",
        f"    python -m matrix reproduce {ONE} > reproduce.py && python reproduce.py",
    ]


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
    report = report_of(*(record_of(cell, Verdict.ERROR) for cell in cells))
    lines = text_of(report)
    assert sum(line.startswith("ERROR ") for line in lines) == 50
    assert [line for line in lines if "more failures" in line] == (
        [] if more is None else [f"... and {more} failures; the report has them all"]
    )
    assert headline(report).endswith(f"{failing} error")


def test_verdicts_are_counted_by_backend() -> None:
    lines = text_of(report_of(record_of(ONE), record_of(TWO), record_of(THREE, Verdict.REFUSED)))
    head, *rows = lines[:4]
    assert head.split() == ["supported", "refused"]
    assert [row.split() for row in rows] == [["eager", "1"], ["sdpa", "1"], ["sdpa", "(flash)", "1"]]
    assert len({len(line) for line in [head, *rows]}) == 1
    assert rows[2].endswith("1")
    assert not rows[0].endswith("1")
