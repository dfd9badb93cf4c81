"""The guide stack by stack: which outcome stands where, and what is right on one stack and wrong on another."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from matrix.guide import Spelling
from matrix.rows import Family, RowOutcome
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.__main__ import app
from reports.document import GuideEntry, Report, RowRecord, Waived, make_report
from reports.guide import by_stack, guide_lines, splits
from reports.html import render_html, render_stacks
from reports.write import write_json
from tests.builders import H100, cuda_stack, make_run, make_stack, record_of

CELL, OTHER = "llama-bfloat16-sdpa-prefill", "opt-float16-sdpa-flash-generate"
NEW, OLD = make_stack({"transformers": "5.23.0"}), make_stack({"transformers": "4.48.3"})
SCRIPT = "<script>alert(1)</script>"


def row(name: str, outcome: RowOutcome, **changes: Any) -> RowRecord:
    return RowRecord.model_validate({"family": Family.GUIDE, "name": name, "outcome": outcome, **changes})


def report(
    stack: Stack,
    rows: list[RowRecord],
    cells: dict[str, Verdict] | None = None,
    entries: list[GuideEntry] | None = None,
) -> Report:
    if entries is None:
        spelled = {name.rpartition("-")[2]: f"guide:{name}" for name in (one.name for one in rows)}
        entries = [GuideEntry(number="G4", name="int8", about="what it says", rows=spelled, cells=list(cells or ()))]
    run = make_run(*(cells or ()), stack=stack, profile="guide", guide=entries, planned_rows=[one.key for one in rows])
    return make_report(run, [record_of(cell, verdict) for cell, verdict in (cells or {}).items()], rows=rows)


def test_each_spelling_has_its_outcome_on_each_stack() -> None:
    holds, refused = RowOutcome.HOLDS, RowOutcome.REFUSED
    new = report(NEW, [row("G4-int8-guide", refused, reason="TypeError: no"), row("G4-int8-today", holds)])
    old = report(OLD, [row("G4-int8-guide", holds), row("G4-int8-today", refused, reason="TypeError: other")])
    (line,) = guide_lines(by_stack([new, old]))
    words = [[[mark.word for mark in found.marks] if found else None for found in pair] for pair in line.by_stack]
    assert words == [[["refused"], ["supported"]], [["supported"], ["refused"]]]
    assert line.by_stack[0][0].reasons == ("TypeError: no",)  # type: ignore[union-attr]


def test_what_is_spelled_the_same_stands_in_both_columns_and_cells_in_theirs() -> None:
    found = report(NEW, [row("G4-int8-either", RowOutcome.HOLDS)], {CELL: Verdict.SUPPORTED, OTHER: Verdict.REFUSED})
    (line,) = guide_lines(by_stack([found]))
    guide, today = line.by_stack[0]
    assert guide is not None
    assert today is not None
    assert [(mark.word, mark.count) for mark in guide.marks] == [("supported", 0)]
    assert sorted((mark.word, mark.count) for mark in today.marks) == [
        ("refused", 1),
        ("supported", 0),
        ("supported", 1),
    ]


def test_lines_come_in_the_order_of_the_guide_and_claims_last() -> None:
    entries = [GuideEntry(number=number, name="a", cells=[CELL]) for number in ("G10", "G2", "G1")]
    claim = row("C1", RowOutcome.HOLDS, family=Family.CLAIM, reason="2 times")
    found = report(NEW, [claim], {CELL: Verdict.SUPPORTED}, entries)
    assert [line.number for line in guide_lines(by_stack([found]))] == ["G1", "G2", "G10", "C1"]


def test_runs_of_one_stack_add_up_and_what_was_measured_counts() -> None:
    one, two = cuda_stack(), cuda_stack(gpus=(H100, H100))
    absent = report(one, [row("G4-int8-today", RowOutcome.UNAVAILABLE, reason="needs 2 GPUs")])
    there = report(two, [row("G4-int8-today", RowOutcome.HOLDS)])
    for order in ([absent, there], [there, absent]):
        (stack,) = by_stack(order)
        assert len(stack.stack.gpus) == 2
        found = stack.found(stack.entries["G4", "int8"], Spelling.TODAY)
        assert found is not None
        assert [mark.word for mark in found.marks] == ["supported"]
    assert len(by_stack([absent, report(make_stack(), [])])) == 2


def test_what_is_right_on_one_stack_and_wrong_on_another_is_listed_with_its_reproducer() -> None:
    waived = Waived(reason="a fault", url="https://example.org/1", reproducer="fault.py")
    bad = row("G4-int8-today", RowOutcome.VIOLATED, reason="wrong", waived=waived)
    new = report(NEW, [row("G4-int8-today", RowOutcome.HOLDS)], {CELL: Verdict.SUPPORTED, OTHER: Verdict.REFUSED})
    old = report(OLD, [bad], {CELL: Verdict.INACCURATE, OTHER: Verdict.ERROR})
    found = {split.name: split for split in splits(by_stack([new, old]))}
    assert set(found) == {CELL, "G4-int8-today"}  # a refusal is not right
    assert "reproduce" in found[CELL].wrong[0].reproducer
    assert found["G4-int8-today"].wrong[0].reproducer == "fault.py"
    assert "4.48.3" in found[CELL].wrong[0].stack
    assert list(splits(by_stack([new, new]))) == []


@pytest.mark.parametrize("render", [render_html, lambda one: render_stacks([one, one])], ids=["report", "stacks"])
def test_no_string_of_a_report_becomes_markup(render: Any) -> None:
    entries = [
        GuideEntry(number=SCRIPT, name=SCRIPT, about=SCRIPT, rows={"today": "guide:" + SCRIPT}, cells=[CELL, SCRIPT])
    ]
    hostile = report(make_stack(), [row(SCRIPT, RowOutcome.VIOLATED, reason=SCRIPT)], {CELL: Verdict.ERROR}, entries)
    hostile.records[0].reason = SCRIPT
    hostile.run.stack.versions["transformers"] = SCRIPT  # type: ignore[index]
    assert SCRIPT not in render(hostile)


def test_the_page_has_no_script_and_names_every_stack() -> None:
    page = render_stacks([report(NEW, [row("G4-int8-today", RowOutcome.HOLDS)]), report(OLD, [])])
    assert not re.search(r"<script", page)
    assert "default-src &#39;none&#39;" in page
    assert "5.23.0" in page
    assert "4.48.3" in page


def test_the_command_writes_a_page_and_no_source(tmp_path: Path) -> None:
    write_json(report(NEW, [row("G4-int8-today", RowOutcome.HOLDS)]), tmp_path)
    source, page = tmp_path / "matrix.json", tmp_path / "stacks.html"
    runner = CliRunner()
    assert runner.invoke(app, ["stacks", str(source), "-o", str(page)]).exit_code == 0
    assert "int8" in page.read_text(encoding="utf-8")
    before = source.read_bytes()
    assert runner.invoke(app, ["stacks", str(source), "-o", str(source)]).exit_code != 0
    assert source.read_bytes() == before
