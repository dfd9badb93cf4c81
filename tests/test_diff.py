"""Two runs held against each other: nothing that differs is lost, and noise is none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from matrix.cell import parse_cell
from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.__main__ import app
from reports.diff import Kind, compare, markdown_lines, text_lines
from reports.document import Bound, Record, Report, RowRecord, Waived, make_report
from reports.write import write_json
from tests.builders import REFUSAL, completed, ended, make_run, make_stack, record_of

ONE, TWO = "llama-bfloat16-sdpa-prefill", "opt-float16-sdpa-flash-generate"


def report(*records: Record, rows: tuple[RowRecord, ...] = (), **versions: str) -> Report:
    run = make_run(*(record.cell for record in records), stack=make_stack(versions))
    return make_report(run, list(records), rows=list(rows), end=ended())


def kinds(before: Report, after: Report) -> dict[str, Kind]:
    return {one.name: one.kind for one in compare(before, after).differences}


def test_a_run_does_not_differ_from_itself() -> None:
    one = report(record_of(ONE), record_of(TWO, Verdict.ERROR))
    diff = compare(one, one)
    assert (diff.versions, diff.differences) == ((), ())
    assert "No cell and no row differs." in list(markdown_lines(diff))


def test_what_came_and_went_and_changed_is_named_and_the_worst_stands_first() -> None:
    waived = Waived(reason="a fault", url="https://example.org/1")
    row = RowRecord(family=Family.GUIDE, name="G1-a-guide", outcome=RowOutcome.HOLDS)
    before = report(record_of(ONE), record_of(TWO), rows=(row,))
    after = report(
        record_of(ONE, Verdict.INACCURATE, "off by 3"),
        record_of("bert-float16-eager-prefill"),
        rows=(row.model_copy(update={"outcome": RowOutcome.REFUSED, "reason": "TypeError"}),),
    )
    assert kinds(before, after) == {
        ONE: Kind.WORSE,
        "guide:G1-a-guide": Kind.CHANGED,
        "bert-float16-eager-prefill": Kind.ADDED,
        TWO: Kind.DELETED,
    }
    assert [one.kind for one in compare(before, after).differences] == [
        Kind.WORSE,
        Kind.CHANGED,
        Kind.ADDED,
        Kind.DELETED,
    ]
    assert kinds(after, before)[ONE] is Kind.CHANGED  # it is right now
    assert kinds(before, report(record_of(ONE, Verdict.ERROR, waived=waived), record_of(TWO), rows=(row,))) == {
        ONE: Kind.CHANGED  # known, so that it fails nothing
    }


def test_versions_stand_on_top() -> None:
    diff = compare(report(record_of(ONE), peft="0.15.2"), report(record_of(ONE), transformers="5.99"))
    assert diff.versions == (("transformers", "5.23.0", "5.99"), ("peft", "0.15.2", "none"))
    assert next(text_lines(diff)) == "transformers: 5.23.0 -> 5.99"


def bounded(ratio: float) -> Record:
    return record_of(ONE, bounds=[Bound(name="logits max", value=ratio, allowed=1.0, ratio=ratio)])


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (bounded(0.5), bounded(0.9), "worst ratio of error to bound: 0.50 -> 0.90"),
        (bounded(0.5), bounded(0.55), ""),
        (bounded(0.01), bounded(0.05), ""),  # five times nothing
        (bounded(0.5), bounded(float("nan")), "0.50 -> nan"),
        (record_of(ONE, kernels=["cudnn"]), record_of(ONE, kernels=["math"]), "kernels: cudnn -> math"),
    ],
)
def test_drift_within_a_verdict_is_told_from_noise(before: Record, after: Record, words: str) -> None:
    found = [line for one in compare(report(before), report(after)).differences for line in one.found]
    assert any(words in line for line in found) if words else found == []


def test_time_memory_and_words_drift_too() -> None:
    seen = completed(parse_cell(ONE), seconds={"load": 0.2, "forward": 0.1}, peak_memory_mib=100.0, failure=REFUSAL)
    slower = replace(seen, seconds={"load": 0.2, "forward": 3.0}, peak_memory_mib=200.0)
    other = replace(seen, failure=replace(REFUSAL, message="in other words"))
    renumbered = replace(seen, failure=replace(REFUSAL, message=REFUSAL.message + " 4"))

    def found(one: object, two: object) -> list[str]:
        pair = [report(record_of(ONE, Verdict.REFUSED, observation=some)) for some in (one, two)]  # type: ignore[arg-type]
        return [line for difference in compare(*pair).differences for line in difference.found]

    assert found(seen, slower) == ["time: 0.30 -> 3.20 s", "memory: 100 -> 200 MiB"]
    assert "in other words" in found(seen, other)[0]
    numbered = replace(seen, failure=replace(REFUSAL, message=REFUSAL.message + " 3"))
    assert found(numbered, renumbered) == []


def test_the_command_tells_it_in_three_ways(tmp_path: Path) -> None:
    paths = []
    for name, verdict in (("old", Verdict.SUPPORTED), ("new", Verdict.INACCURATE)):
        (tmp_path / name).mkdir()
        write_json(report(record_of(ONE, verdict, "<b>|")), tmp_path / name)
        paths.append(str(tmp_path / name / "matrix.json"))

    def told(*options: str) -> str:
        answer = CliRunner().invoke(app, ["diff", *paths, *options])
        assert answer.exit_code == 0
        return answer.output

    assert f"WORSE {ONE}" in told()
    assert "1 worse, 0 changed" in told()
    assert f"| worse | {ONE} | supported -&gt; inaccurate<br>&lt;b&gt;&#124; |" in told("--format", "markdown")
    assert json.loads(told("--format", "json"))["differences"][0]["kind"] == "worse"
