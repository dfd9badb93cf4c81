"""Two runs held against each other: nothing that differs is lost, and noise is none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from matrix.cell import parse_cell
from matrix.dials import Reading
from matrix.errors import UsageError
from matrix.observation import Ending
from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.__main__ import app
from reports.diff import compare, markdown_lines, pace_words, text_lines, transitions
from reports.differences import Aspect, Kind, groups
from reports.document import Bound, Point, Record, Report, RowRecord, Waived, make_report
from reports.html import render_diff
from reports.write import write_json
from tests.builders import REFUSAL, completed, ended, make_run, make_stack, read, record_of

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
        ONE: Kind.REGRESSION,
        "guide:G1-a-guide": Kind.REGRESSION,
        "bert-float16-eager-prefill": Kind.ADDED,
        TWO: Kind.DELETED,
    }
    assert [one.kind for one in compare(before, after).differences] == [
        Kind.REGRESSION,
        Kind.REGRESSION,
        Kind.ADDED,
        Kind.DELETED,
    ]
    assert kinds(after, before)[ONE] is Kind.IMPROVEMENT
    (known,) = compare(
        before, report(record_of(ONE, Verdict.ERROR, waived=waived), record_of(TWO), rows=(row,))
    ).differences
    assert (known.kind, known.aspect) == (Kind.REGRESSION, Aspect.KNOWN)


def test_versions_stand_on_top() -> None:
    diff = compare(report(record_of(ONE), peft="0.15.2"), report(record_of(ONE), transformers="5.99"))
    assert diff.versions == (("transformers", "5.23.0", "5.99"), ("peft", "0.15.2", "none"))
    assert next(text_lines(diff)) == "transformers: 5.23.0 -> 5.99"


def test_that_the_suites_differ_is_told_too() -> None:
    old = report(record_of(ONE))
    new = old.model_copy(update={"run": old.run.model_copy(update={"commit": "abc", "schema_version": "9"})})
    assert {line[0] for line in compare(old, new).versions} == {"commit of the suite", "schema of the report"}


def bounded(ratio: float) -> Record:
    return record_of(ONE, bounds=[Bound(name="logits max", value=ratio, allowed=1.0, ratio=ratio)])


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (bounded(0.5), bounded(0.9), "worst ratio of error to bound: 0.50 -> 0.90"),
        (bounded(0.9), bounded(0.5), "worst ratio of error to bound: 0.90 -> 0.50"),
        (bounded(0.5), bounded(0.7), ""),
        (bounded(0.01), bounded(0.05), ""),  # five times nothing
        (bounded(0.5), bounded(float("nan")), "0.50 -> inf"),
        (record_of(ONE, kernels=["cudnn"]), record_of(ONE, kernels=["math"]), "kernels: cudnn -> math"),
    ],
)
def test_drift_within_a_verdict_is_told_from_noise(before: Record, after: Record, words: str) -> None:
    found = [line for one in compare(report(before), report(after)).differences for line in one.found]
    assert any(words in line for line in found) if words else found == []


def turned(value: float, verdict: Verdict = Verdict.SUPPORTED, cell: str = ONE, dial: str = "scale") -> Record:
    reading = Reading(dial, "%", value, 0.01, 0.9)
    return record_of(cell, verdict, "off by 3", observation=read(parse_cell(cell), reading))


@pytest.mark.parametrize(("verdict", "was"), [(Verdict.SUPPORTED, 0.0), (Verdict.INACCURATE, 5.0)])
def test_a_dial_that_reads_otherwise_is_told_whether_the_cell_is_right_or_wrong(verdict: Verdict, was: float) -> None:
    (one,) = compare(report(turned(was, verdict)), report(turned(was + 0.09, verdict))).differences
    assert (one.kind, one.aspect, one.causes) == (Kind.CHANGE, Aspect.DIALS, ("sdpa: softmax scale moved",))
    assert one.found == (f"softmax scale +{was:.3f} ± 0.010 % -> +{was + 0.09:.3f} ± 0.010 %",)
    assert compare(report(turned(was, verdict)), report(turned(was + 0.08, verdict))).differences == ()


def test_a_cell_that_is_wrong_by_a_dial_now_and_was_by_none_is_wrong_in_another_way() -> None:
    (one,) = compare(report(turned(0.0, Verdict.INACCURATE)), report(turned(5.0, Verdict.INACCURATE))).differences
    assert (one.kind, one.aspect, one.causes) == (
        Kind.CHANGE,
        Aspect.VERDICT,
        ("wrong numbers: sdpa, softmax scale",),
    )
    assert one.found[-1] == "softmax scale +0.000 ± 0.010 % -> +5.000 ± 0.010 %"


def test_a_dial_that_is_laid_to_one_call_of_attention_has_neither_moved_nor_become_another() -> None:
    def wrong(**where: int) -> Record:
        off = Reading("scale", "%", 50.0 + 50 * len(where), 0.01, 0.9, **where)
        return record_of(ONE, Verdict.INACCURATE, "off by 3", observation=read(parse_cell(ONE), off))

    assert compare(report(wrong()), report(wrong(call=2, calls=2))).differences == ()


def test_dials_that_only_one_side_read_or_of_another_comparison_have_not_moved() -> None:
    unread, other = record_of(ONE), turned(9.0, dial="values")
    together = record_of(ONE, observation=read(parse_cell(ONE), Reading("scale", "%", 9.0, 0.01, 0.9, ("values",))))
    (comparison,) = turned(9.0).observation.comparisons
    elsewhere = record_of(ONE, observation=completed(parse_cell(ONE), comparisons=(replace(comparison, name="x"),)))
    for after in (unread, other, together, elsewhere):
        assert compare(report(turned(0.0)), report(after)).differences == ()
        assert compare(report(after), report(turned(0.0))).differences == ()


def test_a_dial_has_moved_where_every_run_of_a_side_says_so_and_the_nearest_is_told() -> None:
    old, near, far = (report(turned(value)) for value in (0.0, 0.5, 0.9))
    (one,) = compare([old, old], [far, near]).differences
    assert one.found == ("softmax scale +0.000 ± 0.010 % -> +0.500 ± 0.010 %",)
    assert compare([old, near], [far, near]).differences == ()


def test_a_cell_that_became_wrong_says_which_dial_moved() -> None:
    (one,) = compare(report(turned(0.0)), report(turned(5.0, Verdict.INACCURATE))).differences
    assert (one.kind, one.aspect) == (Kind.REGRESSION, Aspect.VERDICT)
    assert one.found[-1] == "softmax scale +0.000 ± 0.010 % -> +5.000 ± 0.010 %"


def test_cells_that_one_dial_makes_wrong_are_one_cause_for_each_backend() -> None:
    one_backend, another = "gpt2-float16-sdpa-left-prefill", "gpt2-float16-sdpa-flash-left-prefill"
    cells = {(ONE, "scale"), (one_backend, "scale"), (another, "scale"), ("bert-float16-sdpa-prefill", "values")}
    before, after = (
        report(*(turned(value, verdict, cell, dial) for cell, dial in sorted(cells)))
        for value, verdict in ((0.0, Verdict.SUPPORTED), (5.0, Verdict.INACCURATE))
    )
    assert {(group.cause, len(group.differences)) for group in groups(compare(before, after).differences)} == {
        ("wrong numbers: sdpa, softmax scale", 2),
        ("wrong numbers: sdpa (flash), softmax scale", 1),
        ("wrong numbers: sdpa, output of every head", 1),
    }


@pytest.mark.parametrize(
    ("ratio", "cause"), [(0.9, "wrong numbers: sdpa, softmax scale"), (1.1, "wrong numbers: sdpa, prefill")]
)
def test_a_dial_that_explains_little_is_named_only_where_the_error_is_within_its_bounds(
    ratio: float, cause: str
) -> None:
    seen = read(parse_cell(ONE), Reading("scale", "%", 5.0, 0.01, 0.1))
    bounds = [Bound(name="logits max", value=ratio, allowed=1.0, ratio=ratio)]
    wrong = record_of(ONE, Verdict.INACCURATE, "off by 3", observation=seen, bounds=bounds)
    (one,) = compare(report(record_of(ONE)), report(wrong)).differences
    assert one.causes == (cause,)


def test_a_fault_whose_dials_were_not_read_before_is_no_other_one() -> None:
    unread = record_of(ONE, Verdict.INACCURATE, "off by 3")
    assert compare(report(unread), report(turned(5.0, Verdict.INACCURATE))).differences == ()


def test_words_of_an_error_count_and_what_passes_in_them_does_not() -> None:
    seen = completed(parse_cell(ONE), failure=REFUSAL)

    def found(one: str, two: str) -> list[Kind]:
        pair = [
            report(record_of(ONE, Verdict.REFUSED, observation=replace(seen, failure=replace(REFUSAL, message=some))))
            for some in (one, two)
        ]
        return [difference.kind for difference in compare(*pair).differences]

    said = "model at FIXTURES/llama-0123456789ab: 3 of 4 {'a', 'b'} at 0x7f01"
    assert found(said, "model at /tmp/x/llama-ba9876543210: 3 of 5 {'b', 'a'} at 0x7fa1") == []
    assert found(said, said.replace("model", "class")) == [Kind.CHANGE]


def test_what_repeated_runs_of_a_side_do_not_agree_on_is_noise() -> None:
    math, flash = (report(record_of(ONE, kernels=[name])) for name in ("math", "flash"))
    assert compare([math, flash], [flash, flash]).differences == ()
    assert [one.aspect for one in compare([math, math], [flash, flash]).differences] == [Aspect.KERNELS]
    one, other = (report(raising(ONE, text)) for text in ("no", "never"))
    assert compare([one, other], [other, other]).differences == ()
    assert [found.aspect for found in compare([one, one], [other, other]).differences] == [Aspect.MESSAGE]
    near, far = report(bounded(0.2)), report(bounded(0.9))
    assert compare([near, far], [far, far]).differences == ()
    assert [found.aspect for found in compare([near, near], [far, far]).differences] == [Aspect.ACCURACY]


def test_time_and_memory_of_one_run_a_side_are_no_difference() -> None:
    seen = completed(parse_cell(ONE), seconds={"load": 0.2, "forward": 0.1}, peak_memory_mib=100.0)
    other = replace(seen, seconds={"load": 9.2, "forward": 43.0}, peak_memory_mib=300.0)
    pair = [report(record_of(ONE, observation=one)) for one in (seen, other)]
    assert compare(*pair).differences == ()


def paced(seconds: float, *, count: int = 20, **changes: Any) -> Report:
    cells = list(map(parse_cell, _sdpa_cells()))[:count]
    return report(
        *(
            record_of(cell.id, observation=completed(cell, seconds={"load": 9.0, "forward": seconds}, **changes))
            for cell in cells
        )
    )


def _sdpa_cells() -> list[str]:
    workloads = ("prefill", "causality", "batch_permutation", "padding_invariance", "stepwise")
    return [
        f"{name}-float16-sdpa-{load}" for name in ("llama", "opt", "gpt2", "mistral", "falcon") for load in workloads
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (paced(0.1), paced(0.11), ["sdpa 1.10"]),
        (paced(0.1), paced(0.3), ["sdpa 3.00 (measure again)"]),
        (paced(0.1), paced(0.02), ["sdpa 0.20 (measure again)"]),
        (paced(0.1, count=19), paced(0.3), []),
        (paced(0.1), paced(0.3, ending=Ending.RAISED), []),
    ],
)
def test_the_time_of_many_cells_tells_what_that_of_one_cannot(before: Report, after: Report, words: list[str]) -> None:
    found = compare(before, after)
    assert [pace_words(pace) for pace in found.paces] == words
    told = [line for line in text_lines(found) if line.startswith("time of the same cells")]
    assert not {Aspect.TIME, Aspect.MEMORY} & {one.aspect for one in found.differences}  # who knows what noise is?
    assert told == ([f"time of the same cells, after / before: {words[0]}"] if words else [])
    assert ("Time and memory of the same cells" in render_diff(found, before, after)) is bool(words)


def test_what_is_required_and_missing_now_cannot_be_told() -> None:
    away = record_of(ONE, Verdict.UNAVAILABLE, "not here: flash-attn")
    required = away.model_copy(update={"demanded": ["flash-attn"]})
    found = compare(report(away), report(required))
    (doubt,) = found.doubts
    assert (found.differences, doubt.name) == ((), ONE)
    assert "required but unavailable" in render_diff(found, report(away), report(required))
    (worse,) = compare(report(record_of(ONE)), report(required)).differences
    assert (worse.kind, worse.aspect, worse.found[0]) == (
        Kind.REGRESSION,
        Aspect.UNAVAILABLE,
        "supported -> required but unavailable",
    )


def test_what_one_side_did_not_measure_has_not_drifted() -> None:
    cell = parse_cell(ONE)
    there = record_of(ONE, observation=completed(cell, peak_memory_mib=900.0), bounds=bounded(0.9).bounds)
    here = record_of(ONE, observation=completed(cell, peak_memory_mib=None), bounds=[])
    assert compare(report(there), report(here)).differences == ()
    some, none = claim(point(peak_mib=900)), claim(point(peak_mib=None))
    assert compare(report(rows=(some,)), report(rows=(none,))).differences == ()


def claim(*points: Point, **changes: Any) -> RowRecord:
    given = {"name": "C1", "outcome": RowOutcome.HOLDS, "points": list(points), **changes}
    return RowRecord(family=Family.CLAIM, **given)


def refused(reason: str) -> RowRecord:
    return RowRecord(family=Family.GUIDE, name="G1", outcome=RowOutcome.REFUSED, reason=reason)


@pytest.mark.parametrize(
    ("family", "reason", "kind"),
    [
        (Family.REGRESSION, "needs transformers <4.49 (here 5.23.0), optimum <2 (here none)", Kind.DELETED),
        (Family.PROPERTY, "flash is here", Kind.DELETED),
        (Family.REGRESSION, "needs optimum <2 (here none)", Kind.REGRESSION),
        (Family.REGRESSION, "needs 2 GPUs (here 1)", Kind.REGRESSION),
        (Family.REGRESSION, "flash-attn is not installed", Kind.REGRESSION),
        (Family.EAGER, "no fixture of it can be made: KeyError", Kind.REGRESSION),
        (Family.GUIDE, "needs transformers >=4.49 (here 4.48.3)", Kind.REGRESSION),
    ],
)
def test_a_row_that_held_and_cannot_be_reached_is_worse_unless_it_is_about_other_releases(
    family: Family, reason: str, kind: Kind
) -> None:
    held = RowRecord(family=family, name="one", outcome=RowOutcome.HOLDS)
    away = held.model_copy(update={"outcome": RowOutcome.UNAVAILABLE, "reason": reason})
    (one,) = compare(report(rows=(held,)), report(rows=(away,))).differences
    assert (one.kind, one.aspect) == (kind, Aspect.PLAN if kind is Kind.DELETED else Aspect.UNAVAILABLE)


def point(seconds: float = 0.1, **changes: Any) -> Point:
    return Point(subject="Llama-7B", backend="sdpa", sequence=512, seconds=[seconds, seconds, 9.0], **changes)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (claim(point(0.10)), claim(point(0.12)), []),
        (claim(point(0.10)), claim(point(0.13)), ["0.1 -> 0.13 s"]),
        (claim(point(peak_mib=100)), claim(point(peak_mib=200)), ["100 -> 200 MiB"]),
        (claim(point(kernels=["flash"])), claim(point(kernels=["math"])), ["kernels flash -> math"]),
        (claim(point()), claim(point(failure="out of memory")), ["ran -> out of memory"]),
        (claim(point()), claim(point().model_copy(update={"batch": 2})), []),
        (claim(figures={"speedup": 2.9}), claim(figures={"speedup": 2.0}), ["speedup: 2.9 -> 2"]),
        (claim(figures={"speedup": 2.9}, reason="2.9 times"), claim(figures={"speedup": 2.8}, reason="2.8 times"), []),
        (claim(figures={"nats": 0.01}), claim(figures={"nats": -0.012}), ["nats: 0.01 -> -0.012"]),
        (claim(figures={"nats": 0.001}), claim(figures={"nats": -0.001}), []),
        (claim(reason="refused 3 of 4"), claim(reason="refused 2 of 4"), []),
        (refused("TypeError"), refused("ValueError"), ["TypeError -> ValueError"]),
        (claim(reason="TypeError"), claim(reason="ValueError"), []),
    ],
)
def test_a_row_drifts_too(before: RowRecord, after: RowRecord, words: list[str]) -> None:
    found = [line for one in compare(report(rows=(before,)), report(rows=(after,))).differences for line in one.found]
    assert [line[-len(word) :] for line, word in zip(found, words, strict=True)] == words


def test_a_time_of_one_run_a_side_is_a_change_and_of_several_it_is_worse_or_better() -> None:
    fast, slow = report(rows=(claim(point(1.0)),)), report(rows=(claim(point(1.3)),))
    assert [one.kind for one in compare(fast, slow).differences] == [Kind.CHANGE]
    assert [one.kind for one in compare([fast, fast], [slow, slow]).differences] == [Kind.REGRESSION]
    assert [one.kind for one in compare([slow, slow], [fast, fast]).differences] == [Kind.IMPROVEMENT]


def test_what_is_right_now_needs_no_reason_but_what_was_wrong_with_it() -> None:
    def told(old: Record, new: Record) -> tuple[str, ...]:
        return compare(report(old), report(new)).differences[0].found

    wrong, refused = record_of(ONE, Verdict.INACCURATE, "no"), record_of(ONE, Verdict.REFUSED, "not yet")
    assert told(record_of(ONE), wrong) == ("supported -> inaccurate", "no")
    assert told(wrong, record_of(ONE)) == ("inaccurate -> supported", "was: no")
    assert told(refused, wrong) == ("refused -> inaccurate", "no", "was: not yet")


def raising(cell: str, message: str, verdict: Verdict = Verdict.ERROR) -> Record:
    seen = completed(parse_cell(cell), ending=Ending.RAISED, failure=replace(REFUSAL, message=message), comparisons=())
    return record_of(cell, verdict, message, observation=seen)


def test_what_one_cause_explains_is_one_group_and_the_gravest_comes_first() -> None:
    cells = [f"{name}-float16-sdpa-prefill" for name in ("llama", "opt", "bert", "gpt2")]
    before = report(
        record_of(cells[0]), record_of(cells[1]), raising(cells[2], "too old"), record_of(cells[3], kernels=["math"])
    )
    after = report(
        raising(cells[0], "LlamaModel: layer 3 of 4"),
        raising(cells[1], "OPTModel: layer 2 of 4"),
        raising(cells[2], "BertModel: layer 2 of 4"),
        record_of(cells[3], kernels=["flash"]),
    )
    found = groups(compare(before, after).differences)
    assert [(group.kind, group.example.name, len(group.differences)) for group in found] == [
        (Kind.REGRESSION, cells[1], 2),
        (Kind.CHANGE, cells[2], 1),
        (Kind.CHANGE, cells[3], 1),
    ]


def test_an_error_that_stood_behind_another_one_all_the_time_explains_nothing() -> None:
    """Two refusals went, and what comes after either is what other cells were told before: those are two causes."""
    cells = [f"{name}-float16-sdpa-prefill" for name in ("llama", "opt", "bert")]
    before = report(raising(cells[0], "no sdpa"), raising(cells[1], "no map"), raising(cells[2], "no kernel"))
    after = report(*(raising(cell, "no kernel") for cell in cells))
    assert [group.cause for group in groups(compare(before, after).differences)] == [
        "no longer ValueError: no sdpa",
        "no longer ValueError: no map",
    ]
    fresh = report(raising(cells[0], "no sdpa"), raising(cells[1], "no map"), raising(cells[2], "no more"))
    (one,) = groups(compare(fresh, after).differences)
    assert (one.cause, len(one.differences)) == ("now ValueError: no kernel", 3)


def test_an_error_that_only_the_rules_leave_out_now_is_told_as_such() -> None:
    documented, undocumented = raising(ONE, "no kernel", Verdict.REFUSED), raising(ONE, "no kernel")
    (found,) = compare(report(documented), report(undocumented)).differences
    assert (found.kind, found.found) == (Kind.CHANGE, ("refused -> error", "ValueError: no kernel"))
    assert found.causes == ("documented no more, though it comes as before: ValueError: no kernel",)
    wavering = raising(ONE, "no kernel", Verdict.FLAKY)
    (settled,) = compare(report(wavering), report(documented)).differences
    assert settled.causes == ("as before: ValueError: no kernel",)


def test_the_cells_that_both_runs_have_are_counted_by_what_became_of_them() -> None:
    waived = Waived(reason="a fault", url="https://example.org/1")
    before = report(record_of(ONE), record_of(TWO, Verdict.ERROR), record_of("t5-float16-eager-prefill"))
    after = report(record_of(ONE, Verdict.ERROR, waived=waived), record_of(TWO, Verdict.ERROR))
    assert transitions(before, after) == {("supported", "error, known"): 1, ("error", "error"): 1}


def test_the_page_of_a_comparison_has_all_that_differs_and_its_numbers() -> None:
    before = report(bounded(0.5), record_of(TWO), transformers="4.48.3")
    after = report(bounded(0.9), record_of(TWO, Verdict.INACCURATE, "<b>off</b>"), transformers="5.17.0")
    page = render_diff(compare(before, after), before, after)
    for part in ("<b>4.48.3</b>", "<b>5.17.0</b>", "<b>2</b> regression", "0.50 -&gt; 0.90", ONE, TWO):
        assert part in page
    assert "&lt;b&gt;off&lt;/b&gt;" in page
    assert "<b>off" not in page
    assert "<script" not in page
    assert "script-src 'none'" in page.replace("&#39;", "'")
    assert "No cell and no row differs." in render_diff(compare(before, before), before, before)


@pytest.mark.parametrize("form", ["text", "markdown", "json", "html"])
def test_a_comparison_can_be_written_to_a_file_but_not_over_its_sources(tmp_path: Path, form: str) -> None:
    write_json(report(record_of(ONE)), tmp_path)
    source, target = tmp_path / "matrix.json", tmp_path / "diff"
    before = source.read_bytes()
    answer = CliRunner().invoke(app, ["diff", str(source), str(source), "--format", form, "-o", str(target)])
    assert (answer.exit_code, answer.output) == (0, f"{target}\n")
    assert target.read_text(encoding="utf-8")
    for bad in (source, tmp_path / "none" / "diff"):
        answer = CliRunner().invoke(app, ["diff", str(source), str(source), "--format", form, "-o", str(bad)])
        assert isinstance(answer.exception, UsageError)
    assert source.read_bytes() == before


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_nothing_in_a_report_steers_the_terminal(tmp_path: Path, form: str) -> None:
    paths = []
    for name, verdict in (("old", Verdict.SUPPORTED), ("new", Verdict.ERROR)):
        (tmp_path / name).mkdir()
        write_json(report(record_of(ONE, verdict, "\x1b[2J\x1b]0;title\x07 \u202e gone")), tmp_path / name)
        paths.append(str(tmp_path / name / "matrix.json"))
    output = CliRunner().invoke(app, ["diff", *paths, "--format", form]).output
    assert not set(output) & {"\x1b", "\x07", "\u202e"}
    assert "gone" in output


def test_of_many_that_differ_alike_some_are_named_and_the_rest_counted() -> None:
    cells = _sdpa_cells()
    lines = text_lines(compare(report(*map(record_of, cells)), report(*(raising(cell, "no") for cell in cells))))
    (same,) = [line for line in lines if line.startswith("    the same: ")]
    assert same.count("-sdpa-") == 3
    assert same.endswith(f" and {len(cells) - 4} more")


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

    assert f"REGRESSION {ONE}" in told()
    assert "1 regression, 0 change" in told()
    assert (
        f"| regression | {ONE} | wrong numbers&#58; sdpa, prefill | supported -&gt; inaccurate<br>&lt;b&gt;&#124; |"
        in told("--format", "markdown")
    )
    assert json.loads(told("--format", "json"))["differences"][0]["kind"] == "regression"
