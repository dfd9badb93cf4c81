"""Two runs' eager attention held against each other: each thing that can differ is seen, and what is equal is."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from pydantic import ValidationError
from typer.testing import CliRunner

from matrix.eager_moves import Move, Word
from matrix.rows import Family, RowOutcome
from reports import eager
from reports.__main__ import app
from reports.diff import compare
from reports.differences import Aspect, Kind, groups
from reports.document import EagerTrace, Report, RowRecord, Sharded, make_report
from reports.eager import Finding, compare_eager, compare_traces, eager_differences, eager_lines
from reports.html import render_html
from reports.merge import Part, merge
from reports.reading import read_report
from reports.records import RecordWriter
from reports.write import write_json
from tests.builders import ended, make_run, make_stack

TRACE = EagerTrace(
    fixture="llama-0123456789ab",
    files="aaaa",
    inputs="bbbb",
    padding="left",
    shape=[4, 144, 256],
    spread=2.0,
    numbers=[1.0, -2.0, 0.5],
    generation={"do_sample": "false", "temperature": "1.0"},
    tokens=[[1, 2], [3, 4]],
    seconds=0.1,
    peak_mib=4.0,
)


def changed(**changes: Any) -> EagerTrace:
    return TRACE.model_copy(update=changes)


def findings(before: EagerTrace, after: EagerTrace) -> list[Finding]:
    return [one.finding for one in compare_traces(before, after)[1]]


def report(*traces: tuple[str, EagerTrace | None], release: str = "5.23.0") -> Report:
    rows = [
        RowRecord(
            family=Family.EAGER,
            name=name,
            outcome=RowOutcome.UNAVAILABLE if trace is None else RowOutcome.HOLDS,
            reason="" if trace else "no class takes it",
            eager=trace,
        )
        for name, trace in traces
    ]
    run = make_run(planned_rows=[row.key for row in rows], stack=make_stack({"transformers": release}))
    return make_report(run, [], rows=rows, end=ended())


def test_the_same_is_equal_and_so_is_what_only_rounds() -> None:
    assert compare_traces(TRACE, TRACE) == (0.0, ())
    moved, found = compare_traces(TRACE, changed(numbers=[1.0, -2.0001, 0.5]))
    assert (moved, found) == (pytest.approx(5e-5), ())


@pytest.mark.parametrize(
    ("changes", "finding", "words"),
    [
        ({"numbers": [1.0, -2.0, 1.5]}, Finding.MOVED, "moved by 0.5 standard deviations at worst; 33% of"),
        ({"numbers": [1.0, math.nan, 0.5]}, Finding.MOVED, "finite in one of them alone"),
        ({"shape": [4, 144, 255]}, Finding.MOVED, "[4, 144, 256] -> [4, 144, 255]"),
        ({"missing": ["model.a"]}, Finding.WEIGHTS_LOST, "drawn anew: model.a"),
        ({"mismatched": ["model.a"]}, Finding.WEIGHTS_LOST, "drawn anew: model.a"),
        ({"missing": ["a"], "unexpected": ["b"]}, Finding.WEIGHTS_LOST, "drawn anew: a; the files hold b, of which"),
        ({"unexpected": ["b"]}, Finding.WEIGHTS_LOST, "in the files, and not taken: b"),
        ({"failures": {"load": "KeyError: x"}}, Finding.NOT_LOADED, "load: KeyError: x"),
        ({"failures": {"forward": "E: x"}, "numbers": []}, Finding.NOT_LOADED, "forward: E: x"),
        ({"tokens": [[1, 2], [3, 9]]}, Finding.TOKENS, "[3, 4] -> [3, 9]"),
        ({"generation": {"do_sample": "true", "temperature": "1.0"}}, Finding.DEFAULTS, "do_sample: false -> true"),
        ({"generation": {**TRACE.generation, "top_k": "50"}}, Finding.DEFAULTS, "none -> 50"),
        ({"generation": {}}, Finding.DEFAULTS, "generates -> does not generate"),
        ({"renamed": ["n"], "unsaved": ["o"]}, Finding.SAVED, "writes n, no more o"),
        ({"seconds": 60.0}, Finding.LOADING, "0.10 -> 60.00 s"),
        ({"peak_mib": 400.0}, Finding.LOADING, "4 -> 400 MiB"),
        ({"files": "cccc"}, Finding.OTHER_BYTES, "--fixtures-of"),
        ({"inputs": "cccc"}, Finding.OTHER_INPUTS, "bbbb and cccc"),
        ({"numbers": []}, Finding.NOT_LOADED, "no number comes of it"),
        ({"numbers": [1.0, -3e38, 0.5]}, Finding.MOVED, "finite in one of them alone"),
    ],
)
def test_each_thing_that_differs_is_seen_in_words(changes: dict[str, Any], finding: Finding, words: str) -> None:
    _, found = compare_traces(TRACE, changed(**changes))
    assert [one.finding for one in found][:1] == [finding]
    assert words in found[0].words


def test_of_other_bytes_no_number_counts_and_what_is_lost_of_ones_own_does() -> None:
    other = changed(files="cccc", numbers=[9.0, 9.0, 9.0])
    assert compare_traces(TRACE, other)[0] is None
    assert findings(TRACE, other) == [Finding.OTHER_BYTES]
    assert findings(TRACE, changed(files="cccc", missing=["a"])) == [Finding.WEIGHTS_LOST, Finding.OTHER_BYTES]
    dead = changed(files="cccc", failures={"load": "E: x"}, numbers=[], inputs="")
    assert findings(TRACE, dead)[:2] == [Finding.NOT_LOADED, Finding.OTHER_BYTES]


def test_what_neither_computes_is_not_equal() -> None:
    def failing(**failures: str) -> EagerTrace:
        return changed(failures=failures, numbers=[], spread=None)

    assert findings(failing(forward="E: one"), failing(forward="E: one")) == [Finding.NOT_COMPUTED]
    _, found = compare_traces(failing(forward="E: one thing"), failing(forward="E: other words"))
    assert [one.finding for one in found] == [Finding.REWORDED, Finding.NOT_COMPUTED]
    assert found[0].words == "forward: E: one thing -> E: other words"
    _, found = compare_traces(failing(load="E: one"), failing(forward="E: two"))
    assert [one.finding for one in found] == [Finding.REWORDED, Finding.NOT_COMPUTED]
    assert found[0].words == "load: E: one -> forward: E: two"
    sides = report(("llama", failing(forward="E: one"))), report(("llama", failing(forward="E: one")))
    assert list(eager_differences(*sides)) == []  # it fails as it did


def test_classes_that_a_head_rules_out_hide_no_move() -> None:
    """A spread of schema 2.2 has them in it."""
    ruled = changed(numbers=[1.0, -3.4e38, 0.5, -1.5], spread=8.2e37)
    assert compare_traces(ruled, changed(numbers=[1.0, -3.3e38, 0.5, -1.5], spread=1.0)) == (0.0, ())
    moved, found = compare_traces(ruled, ruled.model_copy(update={"numbers": [1.0, -3.4e38, 0.5, -1000.0]}))
    assert [one.finding for one in found] == [Finding.MOVED]
    assert moved == pytest.approx(998.5 / 1.08, rel=0.01)


def cut(first: int, count: int, digest: str = "") -> dict[str, Any]:
    names = [f"w{number:03}" for number in range(first, first + 39)]
    return {"missing": [*names, f"... and {count - 39:,} more"], "digests": {"missing": digest} if digest else {}}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (cut(0, 50), cut(0, 50), []),
        (cut(0, 50, "d1"), cut(0, 50), []),  # of schema 2.2 nobody knows more
        (cut(0, 50, "d1"), cut(0, 50, "d2"), [Finding.WEIGHTS_LOST, Finding.FOUND_AGAIN]),
        (cut(21, 50), cut(0, 61), [Finding.WEIGHTS_LOST]),
        (cut(0, 1061), cut(21, 50), [Finding.FOUND_AGAIN]),
        ({}, cut(0, 50), [Finding.WEIGHTS_LOST]),
    ],
)
def test_of_lists_that_were_cut_no_name_is_told(
    before: dict[str, Any], after: dict[str, Any], found: list[Finding]
) -> None:
    told = compare_traces(changed(**before), changed(**after))[1]
    assert [one.finding for one in told] == found
    assert not any("w0" in one.words or one.about for one in told)
    assert all(" names, not the " in one.words for one in told)


def test_defaults_that_say_the_same_are_no_difference() -> None:
    assert findings(TRACE, changed(generation={**TRACE.generation, "num_beams": "1", "new_flag": "false"})) == []


def test_what_was_lost_before_is_not_lost_again_and_may_be_found() -> None:
    lost = changed(missing=["a"], unexpected=["b"])
    assert findings(lost, lost) == []
    assert findings(lost, TRACE) == [Finding.FOUND_AGAIN]
    broken = changed(failures={"load": "E: x"}, numbers=[], inputs="", tokens=[], generation={})
    assert findings(broken, TRACE) == [Finding.LOADED]
    assert findings(broken, broken) == [Finding.NOT_COMPUTED]


def test_tokens_that_follow_from_moved_logits_are_not_told_beside() -> None:
    assert findings(TRACE, changed(numbers=[9.0, 9.0, 9.0], tokens=[[7]])) == [Finding.MOVED]


def test_types_come_and_go_with_the_reason() -> None:
    before, after = report(("llama", TRACE), ("old", TRACE)), report(("llama", TRACE), ("new", TRACE), ("old", None))
    found = {one.name: one for one in compare_eager(before, after)}
    assert {name: one.finding for name, one in found.items()} == {
        "llama": Finding.EQUAL,
        "old": Finding.GONE,
        "new": Finding.NEW,
    }
    assert found["old"].found[0].words == "no class takes it"


def test_a_row_that_never_came_is_not_gone() -> None:
    before, after = report(("llama", TRACE)), report(("llama", TRACE))
    cut_off = make_report(after.run, [], rows=[])
    ((one,),) = [found.found for found in compare_eager(before, cut_off)]
    assert (one.finding, one.words) == (Finding.UNKNOWN, "after: planned, but nothing came")
    ((one,),) = [found.found for found in compare_eager(cut_off, after)]
    assert one.finding is Finding.UNKNOWN


MOVE = Move(
    ("llama",),
    Version("4.57.6"),
    Version("5.23.0"),
    Word.REPAIR,
    "models/llama",
    "it counts",
    "it should",
    moved={"llama": 5.0},
    weights=("a",),
    fails=("load",),
)


def test_a_known_move_is_explained_where_it_lies_between_the_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = changed(numbers=[9.0, 9.0, 9.0])
    before, after = report(("llama", TRACE), release="4.57.6"), report(("llama", moved), release="5.23.0")
    (unknown,) = eager_differences(before, after)
    assert unknown.kind is Kind.CHANGE
    assert unknown.found[-1] == "repair or regression? nobody has read it yet"
    monkeypatch.setattr(eager, "load_moves", lambda: (MOVE,))
    (known,) = eager_differences(before, after)
    assert known.kind is Kind.IMPROVEMENT
    assert known.found[-1] == "known, a repair: it counts (models/llama)"
    assert [one.moves for one in compare_eager(after, before)] == [()]  # the other way it is no repair
    broke = replace(MOVE, word=Word.REGRESSION)
    for moves in ((broke,), (MOVE, broke), (broke, MOVE)):  # of several one that broke it counts
        monkeypatch.setattr(eager, "load_moves", lambda moves=moves: moves)
        assert [one.kind for one in eager_differences(before, after)] == [Kind.REGRESSION]


@pytest.mark.parametrize("seen", [{}, {"llama": 1.0}])
def test_a_known_move_explains_no_more_than_was_seen_of_it(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, float]
) -> None:
    monkeypatch.setattr(eager, "load_moves", lambda: (replace(MOVE, moved=seen),))
    before, after = report(("llama", TRACE), release="4.57.6"), report(("llama", changed(numbers=[9.0] * 3)))
    (found,) = eager_differences(before, after)
    assert (found.kind, found.aspect) == (Kind.CHANGE, Aspect.EAGER)
    assert found.found[-1].startswith("further than what is known, a repair, ")


@pytest.mark.parametrize(
    ("word", "changes", "kinds"),
    [
        (Word.REPAIR, {"missing": ["a"]}, [(Kind.REGRESSION, Aspect.VERDICT)]),
        (Word.REPAIR, {"failures": {"load": "E"}}, [(Kind.REGRESSION, Aspect.VERDICT)]),
        (Word.REPAIR, {"tokens": [[9]]}, [(Kind.CHANGE, Aspect.EAGER)]),
        (Word.REPAIR, {"seconds": 99.0}, [(Kind.CHANGE, Aspect.EAGER)]),
        (Word.REPAIR, {"files": "cccc"}, [(Kind.CHANGE, Aspect.EAGER)]),
        (Word.REGRESSION, {"missing": ["a"]}, [(Kind.REGRESSION, Aspect.KNOWN)]),
        (Word.REGRESSION, {"missing": ["a", "b"]}, [(Kind.REGRESSION, Aspect.VERDICT)]),
        (Word.REGRESSION, {"failures": {"load": "E"}}, [(Kind.REGRESSION, Aspect.KNOWN)]),
        (Word.REGRESSION, {"failures": {"save": "E"}}, [(Kind.REGRESSION, Aspect.VERDICT)]),
    ],
)
def test_a_known_move_excuses_nothing_that_it_does_not_name(
    monkeypatch: pytest.MonkeyPatch, word: Word, changes: dict[str, Any], kinds: list[tuple[Kind, Aspect]]
) -> None:
    monkeypatch.setattr(eager, "load_moves", lambda: (replace(MOVE, word=word),))
    before, after = report(("llama", TRACE), release="4.57.6"), report(("llama", changed(**changes)))
    assert [(one.kind, one.aspect) for one in eager_differences(before, after)] == kinds


def test_weights_that_a_repair_finds_again_are_told_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "load_moves", lambda: (MOVE,))
    for missing, cause in ((["a"], "it counts"), (["b"], "weights found again: were drawn anew: b")):
        before = report(("llama", changed(missing=missing)), release="4.57.6")
        (found,) = eager_differences(before, report(("llama", TRACE)))
        assert (found.kind, found.causes) == (Kind.IMPROVEMENT, (cause,))


def test_moves_that_nobody_has_read_are_told_type_by_type_the_furthest_first() -> None:
    far = {"blip": 3.0, "kosmos": 9.0, "reformer": 2.0}
    before = report(*((name, TRACE) for name in far))
    after = report(*((name, changed(numbers=[number, -2.0, 0.5])) for name, number in far.items()))
    found = groups(list(eager_differences(before, after)))
    assert [group.example.name for group in found] == ["eager:kosmos", "eager:blip", "eager:reformer"]
    assert found[0].cause.startswith("kosmos computes something else: moved by 4 standard")


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (changed(missing=["a"]), Kind.REGRESSION),
        (changed(failures={"load": "E"}), Kind.REGRESSION),
        (changed(failures={"load": "E"}, files="cccc"), Kind.REGRESSION),
        (changed(numbers=[9.0] * 3), Kind.CHANGE),
        (changed(generation={"do_sample": "true"}), Kind.CHANGE),
    ],
)
def test_what_is_lost_is_worse_and_what_moved_must_be_read(after: EagerTrace, kind: Kind) -> None:
    found = next(eager_differences(report(("llama", TRACE)), report(("llama", after))))
    assert (found.kind, found.name) == (kind, "eager:llama")
    assert list(eager_differences(report(("llama", TRACE)), report(("llama", TRACE)))) == []


def test_a_comparison_of_runs_tells_what_eager_became_once() -> None:
    before, after = report(("llama", TRACE)), report(("llama", changed(numbers=[9.0] * 3)))
    (found,) = compare(before, after).differences
    assert (found.kind, found.aspect) == (Kind.CHANGE, Aspect.EAGER)
    (gone,) = compare(before, report()).differences
    assert gone.kind is Kind.DELETED


def test_the_table_counts_and_tells_what_moved_most_first() -> None:
    before = report(("a", TRACE), ("b", TRACE), ("c", TRACE))
    after = report(("a", TRACE), ("b", changed(numbers=[2.0, -2.0, 0.5])), ("c", changed(numbers=[5.0, -2.0, 0.5])))
    lines = list(eager_lines(compare_eager(before, after)))
    assert lines[0] == "3 architectures: 2 computes something else, 1 equal"
    assert [line.split()[0] for line in lines if "moved by" in line] == ["c", "b"]


def test_no_line_of_the_table_is_a_command_to_a_ci_service() -> None:
    raised = changed(failures={"load": "KeyError: one\n::error title=x::injected"}, numbers=[])
    lines = list(eager_lines(compare_eager(report(("a", TRACE)), report(("a", raised)))))
    assert any("injected" in line for line in lines)
    assert not any(part.lstrip().startswith("::") for line in lines for part in line.splitlines())


def written(folder: Path, made: Report) -> Path:
    folder.mkdir()
    write_json(made, folder)
    return folder


def test_the_command_reads_runs_and_refuses_those_that_kept_nothing(tmp_path: Path) -> None:
    moved = report(("llama", changed(numbers=[9.0] * 3)), release="5.24.0")
    old, new = written(tmp_path / "a", report(("llama", TRACE))), written(tmp_path / "b", moved)
    answer = CliRunner().invoke(app, ["eager", str(old), str(new)])
    assert answer.exit_code == 0
    assert "transformers: 5.23.0 -> 5.24.0" in answer.output
    assert "1 architectures: 1 computes something else" in answer.output
    part = make_report(report(("llama", TRACE), ("gpt2", TRACE)).run, [], rows=[moved.rows[0]])
    cut_off = CliRunner().invoke(app, ["eager", str(old), str(written(tmp_path / "c", part))])
    assert "COULD NOT TELL after: the run was cut off" in cut_off.output
    nothing = written(tmp_path / "d", report())
    for sides in ((nothing, nothing), (old, nothing), (nothing, new)):
        refused = CliRunner().invoke(app, ["eager", *map(str, sides)])
        assert refused.exit_code != 0
        assert f"{nothing}: kept nothing of eager attention" in str(refused.exception)


def test_a_trace_survives_both_files_with_numbers_that_json_has_not(tmp_path: Path) -> None:
    odd = changed(numbers=[math.inf, -math.inf, 0.5], spread=None)
    made = report(("llama", odd))
    written(tmp_path / "a", made)
    lines = RecordWriter(tmp_path / "records.jsonl", made.run, made.rows)
    lines.close()
    for path in (tmp_path / "a" / "matrix.json", tmp_path / "records.jsonl"):
        (row,) = read_report(path).rows
        assert row.eager == odd


def test_shards_that_are_merged_keep_what_each_computed() -> None:
    names, parts = ["llama", "gpt2"], []
    for number, name in enumerate(names, start=1):
        sharded = Sharded(number=number, of=2, planned=[], planned_rows=[f"eager:{one}" for one in names])
        own = report((name, changed(fixture=f"{name}-0123456789ab")))
        run = own.run.model_copy(update={"shard": sharded})
        rows = [row.model_copy(update={"began": 1.0}) for row in own.rows]
        parts.append(Part(Path(name), make_report(run, [], rows=rows, end=ended()), sharded))
    whole = merge(parts)
    assert [row.eager.fixture for row in whole.rows if row.eager] == ["llama-0123456789ab", "gpt2-0123456789ab"]
    assert whole.problems == []


def test_reports_from_elsewhere_are_limited() -> None:
    good = TRACE.model_dump()
    for bad in (
        {"fixture": "../../etc-0123456789ab"},
        {"fixture": "llama"},
        {"numbers": [0.0] * 513},
        {"missing": ["a"] * 41},
        {"missing": ["a" * 301]},
        {"generation": {str(n): "1" for n in range(101)}},
        {"tokens": [[1] * 65]},
    ):
        with pytest.raises(ValidationError):
            EagerTrace.model_validate(good | bad)


def test_a_row_of_eager_fails_no_run() -> None:
    row = RowRecord(family=Family.EAGER, name="x", outcome=RowOutcome.VIOLATED)
    assert (row.fails, row.word) == (False, "not computed")
    assert row.model_copy(update={"outcome": RowOutcome.MISSING}).fails


def test_the_page_shows_what_eager_computes_and_escapes_it() -> None:
    page = render_html(report(("llama", changed(missing=["<script>x"])), ("gone", None)))
    section = page.partition('id="eager"')[2].partition("</section>")[0]
    assert "3 logits of 1 architectures" in section
    assert "&lt;script&gt;x" in section
    assert "no class takes it" in section
    assert 'id="eager"' not in render_html(report())
