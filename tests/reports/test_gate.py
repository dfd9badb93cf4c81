"""The gate: each kind of regression is caught and named, what is none is not, and what cannot be told is said."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from matrix.cell import parse_cell
from matrix.dials import Reading
from matrix.errors import UsageError
from matrix.expectation import Expectation, Outcome
from matrix.observation import Ending, Origin
from matrix.rows import Family, RowOutcome
from matrix.stack import Device
from matrix.verdict import Verdict
from reports.__main__ import app
from reports.diff import compare, text_lines
from reports.differences import Aspect, Kind
from reports.document import Bound, Record, Report, RowRecord, Waived, make_report
from reports.gate import (
    Allowed,
    Answer,
    Format,
    Gate,
    check_repeated,
    gate_lines,
    json_schema,
    judge,
    parse_allowed,
)
from reports.html import render_gate
from reports.policy import Policy
from reports.reading import read_report
from reports.write import write_json
from tests.builders import (
    PROPERTY,
    REFUSAL,
    REFUSED,
    ROOT,
    completed,
    cuda_stack,
    ended,
    make_run,
    make_stack,
    read,
    record_of,
)
from tests.reports.test_noise import measured

FREE, PINNED = "llama-bfloat16-sdpa-prefill", "opt-float16-sdpa-flash-generate"
REFUSING, FAULTY = "bloom-float16-flash_attention_2-prefill", "gpt2-float16-eager-prefill"
NEW = "5.24.0"


def refused(message: str = REFUSAL.message, cell: str = REFUSING, **changes: Any) -> Record:
    failure = replace(REFUSAL, message=message)
    seen = completed(parse_cell(cell), Device.CUDA, ending=Ending.RAISED, failure=failure, comparisons=())
    return record_of(cell, Verdict.REFUSED, message, expectation=REFUSED, observation=seen, **changes)


def wrong(cell: str, kind: str = "LlamaAttention", **changes: Any) -> Record:
    begins = Origin("", 0, "model.layers.0.self_attn", kind, "every row and token", 1.0, 0.1, 0.2, 0.0, 0.0, True)
    return record_of(
        cell, Verdict.INACCURATE, "off by 3", observation=completed(parse_cell(cell), origin=begins), **changes
    )


def honest() -> dict[str, Record]:
    known = Waived(reason="a fault", url="https://example.org/1")
    records = [
        record_of(FREE, kernels=["flash"], bounds=bounded(0.3)),
        record_of(PINNED, kernels=["flash"]),
        refused(),
        wrong(FAULTY, waived=known),
    ]
    return {record.cell: record for record in records}


def bounded(ratio: float) -> list[Bound]:
    return [Bound(name="logits max", value=ratio, allowed=1.0, ratio=ratio)]


def report(*changed: Record, rows: tuple[RowRecord, ...] = (), transformers: str = "5.23.0", **changes: Any) -> Report:
    records = honest() | {record.cell: record for record in changed}
    given = {"stack": make_stack({"transformers": transformers})} | changes
    run = make_run(*records, planned_rows=[row.key for row in rows], **given)
    return make_report(run, list(records.values()), rows=list(rows), end=ended())


def gate(*changed: Record, policy: Policy = Policy(), **changes: Any) -> Gate:  # noqa: B008
    return judge([report()], [report(*changed, transformers=NEW, **changes)], policy)


def instead(
    cell: str, observation_changes: dict[str, Any], evidence_changes: dict[str, Any], device: Device = Device.CPU
) -> Record:
    """A refusal that vanished, and what ran then."""
    seen = completed(parse_cell(cell), device)
    seen = replace(seen, evidence=replace(seen.evidence, **evidence_changes), **observation_changes)
    verdict = Verdict.INACCURATE if "origin" in observation_changes else Verdict.UNEXPECTED
    return record_of(cell, verdict, "the documented error did not come", expectation=REFUSED, observation=seen)


def in_float32(*names: str) -> Record:
    """A cell in which these of its thirty parameters are in another dtype than it names."""
    seen = completed(parse_cell(FREE))
    counts = {"float32": len(names), "bfloat16": 30 - len(names)}
    evidence = replace(seen.evidence, foreign_parameters={"float32": names}, parameter_dtypes=counts)
    reason = f"parameters in float32, not bfloat16: {', '.join(names[:5])}"
    changes = {"kernels": ["flash"], "bounds": bounded(0.3)}
    return record_of(FREE, Verdict.SUBSTITUTED, reason, observation=replace(seen, evidence=evidence), **changes)


EAGER = {"attn_implementations": {"BloomModel": "eager"}, "attention_ops": {}}
# What is planted, and what the gate must call it.
PLANTED: dict[str, tuple[Callable[[], Record], Kind, Aspect, str]] = {
    "a seeded fault": (
        lambda: wrong(FREE),
        Kind.REGRESSION,
        Aspect.VERDICT,
        "wrong numbers begin in Attention, every row and token",
    ),
    "a crash": (
        lambda: record_of(FREE, Verdict.CRASHED, "the process died"),
        Kind.REGRESSION,
        Aspect.VERDICT,
        "the process died",
    ),
    "a fault that is reported": (
        lambda: wrong(FREE, waived=Waived(reason="masks are lost", url="https://example.org/2")),
        Kind.REGRESSION,
        Aspect.KNOWN,
        "masks are lost",
    ),
    "a kernel pinned elsewhere": (
        lambda: record_of(PINNED, Verdict.SUBSTITUTED, "kernels that ran: math; the cell names flash"),
        Kind.REGRESSION,
        Aspect.FALLBACK,
        "kernels that ran: math",
    ),
    "a kernel pinned elsewhere that nobody saw": (
        lambda: record_of(PINNED, kernels=["math"]),
        Kind.REGRESSION,
        Aspect.FALLBACK,
        "flash -> math",
    ),
    "other kernels that torch chose": (
        lambda: record_of(FREE, kernels=["math"], bounds=bounded(0.3)),
        Kind.CHANGE,
        Aspect.KERNELS,
        "flash -> math",
    ),
    "a router that its library keeps in float32": (
        lambda: in_float32("mlp.gate.weight"),
        Kind.CHANGE,
        Aspect.DTYPE,
        "more parameters of llama stay in float32",
    ),
    "a dtype that is not obeyed": (
        lambda: in_float32(*(f"layers.{n}.weight" for n in range(30))),
        Kind.REGRESSION,
        Aspect.FALLBACK,
        "parameters in float32, not bfloat16",
    ),
    "half of a model in a dtype that it does not name": (
        lambda: in_float32(*(f"layers.{n}.weight" for n in range(14))),
        Kind.REGRESSION,
        Aspect.FALLBACK,
        "parameters in float32, not bfloat16",
    ),
    "a refusal that became a fault of the device": (
        lambda: refused("CUDA error: misaligned address").model_copy(update={"verdict": Verdict.ERROR}),
        Kind.REGRESSION,
        Aspect.VERDICT,
        "CUDA error: misaligned address",
    ),
    "a ratio that left its band": (
        lambda: record_of(FREE, kernels=["flash"], bounds=bounded(0.9)),
        Kind.REGRESSION,
        Aspect.ACCURACY,
        "llama nearer to its bounds",
    ),
    "a message": (
        lambda: refused("Bloom does not support this yet, sorry"),
        Kind.CHANGE,
        Aspect.MESSAGE,
        "sorry",
    ),
    "a message that no rule knows": (
        lambda: refused("No").model_copy(update={"verdict": Verdict.ERROR}),
        Kind.CHANGE,
        Aspect.MESSAGE,
        "now ValueError: No",
    ),
    "a refusal that vanishes, and eager attention runs": (
        lambda: instead(REFUSING, {}, EAGER),
        Kind.REGRESSION,
        Aspect.FALLBACK,
        "the documented error did not come",
    ),
    "a refusal that vanishes, and what runs is wrong": (
        lambda: wrong(REFUSING),
        Kind.REGRESSION,
        Aspect.VERDICT,
        "wrong numbers begin in Attention",
    ),
    "a refusal that vanishes, and what runs is right": (
        lambda: instead(REFUSING, {}, {}),
        Kind.IMPROVEMENT,
        Aspect.EXPECTATION,
        "no longer refused: a page",
    ),
    "a known fault that is gone": (
        lambda: record_of(FAULTY),
        Kind.IMPROVEMENT,
        Aspect.VERDICT,
        "a fault (https://example.org/1)",
    ),
    "something that works and is refused": (
        lambda: refused(cell=FREE),
        Kind.REGRESSION,
        Aspect.VERDICT,
        "refused now: a page",
    ),
    "something that works and needs what is not here": (
        lambda: record_of(FREE, Verdict.UNAVAILABLE, "not here: kernels"),
        Kind.REGRESSION,
        Aspect.UNAVAILABLE,
        "kernels",
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_caught_and_named(what: str) -> None:
    make, kind, aspect, words = PLANTED[what]
    found = gate(make())
    (cause,) = found.groups
    assert (cause.kind, cause.aspect, cause.count, cause.names) == (kind, aspect, 1, [make().cell])
    assert words in cause.cause
    assert found.exit_status == (1 if kind is Kind.REGRESSION else 0)
    assert f"python -m matrix reproduce {make().cell}" in cause.command
    assert found.doubtful == ([make().cell] if kind is Kind.REGRESSION else [])
    assert gate().verdict is Answer.SAFE  # and nothing without it


@pytest.mark.parametrize("what", ["slower", "larger"])
def test_attention_that_takes_30_percent_more_is_caught_where_runs_were_repeated(what: str) -> None:
    before, after = [measured(n) for n in (1, 2, 3)], [measured(n, **{what: 1.3}) for n in (4, 5, 6)]
    found = judge(before, after)
    (cause,) = found.groups
    assert (found.verdict, cause.kind) == (Answer.REGRESSIONS, Kind.REGRESSION)
    assert cause.cause == {"slower": "sdpa: time", "larger": "sdpa: memory"}[what]
    once = judge(before[:1], after[:1])
    assert once.verdict is Answer.SAFE


def test_dials_that_moved_are_a_group_for_each_dial_and_backend_and_fail_where_a_policy_says_so() -> None:
    cells = (FREE, "gpt2-bfloat16-sdpa-prefill", *(f"llama-float16-flash_attention_{n}-prefill" for n in (2, 3)))

    def side(value: float, **changes: Any) -> Report:
        readings = [Reading(dial, "%", value, 0.01, 0.9) for dial in ("head_scale", "head_gain")]
        return report(*(record_of(one, observation=read(parse_cell(one), *readings)) for one in cells), **changes)

    def judged(policy: dict[str, Any]) -> Gate:
        return judge([side(0.0)], [side(0.5, transformers=NEW)], Policy.model_validate(policy))

    told = judged({})
    assert {(one.cause, one.count) for one in told.groups} == {
        ("sdpa: softmax scale of head 0 moved", 2),
        ("sdpa: output of head 0 moved", 2),
        ("flash_attention_2: softmax scale of head 0 moved", 1),
        ("flash_attention_2: output of head 0 moved", 1),
        ("flash_attention_3: softmax scale of head 0 moved", 1),
        ("flash_attention_3: output of head 0 moved", 1),
    }
    assert {(one.kind, one.aspect) for one in told.groups} == {(Kind.CHANGE, Aspect.DIALS)}
    assert told.verdict is Answer.SAFE
    moved = "softmax scale of head 0 +0.000 ± 0.010 % -> +0.500 ± 0.010 %"
    assert any(moved in line for line in gate_lines(told, Format.TEXT))
    assert judged({"counts": {"dials": "regression"}}).verdict is Answer.REGRESSIONS
    assert judged({"counts": {"dials": "ignore"}}).groups == []


def test_a_pace_is_told_by_the_bands_of_the_policy() -> None:
    sides = [measured(n) for n in (1, 2, 3)], [measured(n, slower=1.3) for n in (4, 5, 6)]
    wide = judge(*sides, Policy.model_validate({"within": {"time_factor": 3}}))
    assert wide.verdict is Answer.SAFE
    assert not any("beyond noise" in line for line in wide.paces)
    assert any("beyond noise" in line for line in judge(*sides).paces)


def test_what_seems_to_take_more_is_to_be_measured_again() -> None:
    many = [f"{name}-float16-sdpa-{load}" for name in ("llama", "opt", "gpt2", "mistral") for load in LOADS]

    def paced(seconds: float) -> Report:
        records = [
            record_of(name, observation=completed(parse_cell(name), seconds={"forward": seconds})) for name in many
        ]
        return make_report(make_run(*many), records, end=ended())

    assert judge([paced(0.1)], [paced(0.3)]).doubtful == many
    assert judge([paced(0.1)], [paced(0.1)]).doubtful == []
    assert judge([paced(0.3)], [paced(0.1)]).doubtful == []


LOADS = ("prefill", "causality", "batch_permutation", "padding_invariance", "stepwise")


def test_a_guide_that_is_refused_now_and_a_failure_that_is_back_are_regressions() -> None:
    recipe = RowRecord(family=Family.GUIDE, name="G6", outcome=RowOutcome.HOLDS)
    reported = RowRecord(family=Family.REGRESSION, name="window_lost", outcome=RowOutcome.HOLDS, about="a window")
    gone = recipe.model_copy(update={"outcome": RowOutcome.REFUSED, "reason": "TypeError: load_in_4bit"})
    back = reported.model_copy(update={"outcome": RowOutcome.VIOLATED, "reason": "reaches 4"})
    found = judge([report(rows=(recipe, reported))], [report(rows=(gone, back), transformers=NEW)])
    assert [(cause.kind, cause.example, cause.cause) for cause in found.groups] == [
        (Kind.REGRESSION, "guide:G6", "TypeError: load_in_4bit"),
        (Kind.REGRESSION, "regression:window_lost", "a window: reaches 4"),
    ]
    assert judge([report(rows=(gone, back))], [report(rows=(gone, back), transformers=NEW)]).groups == []


def test_rows_that_look_worse_are_to_be_measured_again_but_for_what_is_computed() -> None:
    row = RowRecord(family=Family.GUIDE, name="G6", outcome=RowOutcome.HOLDS)
    eager = row.model_copy(update={"family": Family.EAGER, "name": "jamba"})
    bad = [one.model_copy(update={"outcome": RowOutcome.VIOLATED, "reason": "no"}) for one in (row, eager)]
    old, new = report(rows=(row, eager)), report(rows=tuple(bad), transformers=NEW)
    found = judge([old], [new])
    assert found.doubtful == ["guide:G6"]
    assert judge([old, old], [new, new]).doubtful == []
    lines = list(gate_lines(found, Format.TEXT))
    assert "1 cells or rows look worse and were measured once: guide:G6" in lines
    assert any("--only=FILE" in line for line in lines)


def test_what_fails_in_both_sides_is_neither_worse_nor_better() -> None:
    bad = wrong(FREE), record_of(PINNED, Verdict.CRASHED, "died")
    found = judge([report(*bad)], [report(*bad, transformers=NEW)])
    assert (found.verdict, found.groups) == (Answer.SAFE, [])


@pytest.mark.parametrize("verdict", [Verdict.INACCURATE, Verdict.CRASHED])
def test_what_was_wrong_and_is_refused_now_was_not_repaired(verdict: Verdict) -> None:
    gone = refused("'BloomModel' object has no attribute 'to_bettertransformer'", FAULTY)
    found = judge([report(record_of(FAULTY, verdict, "off by 3"))], [report(gone, transformers=NEW)])
    (cause,) = found.groups
    assert (cause.kind, cause.aspect, found.exit_status) == (Kind.CHANGE, Aspect.MESSAGE, 0)
    assert cause.cause == "now ValueError: '<model>' object has no attribute 'to_bettertransformer'"


def test_a_failure_that_a_library_refuses_now_was_not_repaired() -> None:
    bad = ROW.model_copy(update={"waived": KNOWN_FAULT})
    no = bad.model_copy(update={"outcome": RowOutcome.HOLDS, "reason": "ValueError: no SDPA", "waived": None})
    found = judge([report(rows=(bad,))], [report(rows=(no,), transformers=NEW)])
    (cause,) = found.groups
    assert (cause.kind, cause.aspect, found.exit_status) == (Kind.CHANGE, Aspect.MESSAGE, 0)
    assert cause.cause == "no longer: a fault (https://example.org/1); refused instead"
    assert "ValueError: no SDPA" in cause.found
    (back,) = judge([report(rows=(no,))], [report(rows=(bad,), transformers=NEW)]).groups
    assert (back.kind, back.found[-1]) == (Kind.REGRESSION, "was: ValueError: no SDPA")
    gone = no.model_copy(update={"reason": ""})
    (repaired,) = judge([report(rows=(bad,))], [report(rows=(gone,), transformers=NEW)]).groups
    assert repaired.kind is Kind.IMPROVEMENT


def test_a_refusal_that_is_gone_is_not_blamed_on_what_never_was_there() -> None:
    here = refused("No", PINNED)
    away = record_of(PINNED, Verdict.UNAVAILABLE, "not here: cuda", expectation=away_for("cuda"))
    (cause,) = judge([report(here)], [report(away, transformers=NEW)]).groups
    assert (cause.kind, cause.aspect) == (Kind.CHANGE, Aspect.UNAVAILABLE)
    assert cause.cause == "refused before, not measured now without cuda: a page"
    bad = wrong(PINNED)
    (lost,) = judge([report(bad)], [report(away, transformers=NEW)]).groups
    assert (lost.kind, lost.aspect, lost.cause) == (Kind.CHANGE, Aspect.UNAVAILABLE, "now not here: cuda")


def away_for(*missing: str) -> Expectation:
    return Expectation(Outcome.UNAVAILABLE, "it names a GPU", missing=missing)


def test_parameters_that_are_kept_in_float32_by_a_known_fault_no_more_are_an_improvement() -> None:
    fault = in_float32("mixer.A_log")
    known = fault.model_copy(update={"waived": KNOWN_FAULT})
    right = record_of(FREE, kernels=["flash"], bounds=bounded(0.3))
    (repaired,) = judge([report(known)], [report(right, transformers=NEW)]).groups
    assert (repaired.kind, repaired.cause) == (Kind.IMPROVEMENT, "no longer: a fault (https://example.org/1)")
    assert "no longer in float32: mixer.A_log" in repaired.found
    (fewer,) = judge([report(fault)], [report(right, transformers=NEW)]).groups
    assert (fewer.kind, fewer.cause) == (Kind.CHANGE, "fewer parameters of llama stay in float32")
    (other,) = judge([report(fault)], [report(in_float32("gate.weight"), transformers=NEW)]).groups
    assert (other.kind, other.cause) == (Kind.CHANGE, "other parameters of llama stay in float32")


def substituted(reason: str, **changes: Any) -> Record:
    return record_of(PINNED, Verdict.SUBSTITUTED, reason, **changes)


KNOWN_FAULT = Waived(reason="a fault", url="https://example.org/1")
ROW = RowRecord(family=Family.REGRESSION, name="lost", outcome=RowOutcome.VIOLATED, reason="reaches 4")


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (wrong(FAULTY, waived=KNOWN_FAULT), wrong(FAULTY, "GPT2MLP"), Kind.REGRESSION),
        (wrong(FAULTY, waived=KNOWN_FAULT), wrong(FAULTY), Kind.REGRESSION),
        (
            substituted("left unquantised: a, b", waived=KNOWN_FAULT),
            substituted("kernels that ran: math"),
            Kind.REGRESSION,
        ),
        (wrong(FAULTY), wrong(FAULTY, "GPT2MLP"), Kind.CHANGE),
        (substituted("left unquantised: a, b"), substituted("kernels that ran: math"), Kind.CHANGE),
        (substituted("left unquantised: a, b"), substituted("left unquantised: a, c"), None),
        (wrong(FAULTY), wrong(FAULTY, waived=KNOWN_FAULT), None),
        (wrong(FAULTY), record_of(FAULTY, Verdict.INACCURATE, "off by 3"), None),  # nobody looked for its place
    ],
)
def test_what_is_as_bad_as_it_was_but_excused_no_more_or_otherwise_is_told(
    old: Record, new: Record, kind: Kind | None
) -> None:
    found = judge([report(old)], [report(new, transformers=NEW)])
    assert [cause.kind for cause in found.groups] == ([] if kind is None else [kind])
    assert found.exit_status == (1 if kind is Kind.REGRESSION else 0)


def test_a_failure_that_is_excused_no_more_is_a_regression() -> None:
    excused = ROW.model_copy(update={"waived": KNOWN_FAULT})
    sides = [report(rows=(excused,))], [report(rows=(ROW,), transformers=NEW)]
    assert judge(*sides).verdict is Answer.REGRESSIONS
    raising = refused("No", FREE).model_copy(update={"verdict": Verdict.ERROR})
    known = raising.model_copy(update={"waived": KNOWN_FAULT})
    assert judge([report(known)], [report(raising, transformers=NEW)]).verdict is Answer.REGRESSIONS


def test_a_regression_that_is_measured_again_is_believed_if_it_comes_again() -> None:
    before, after = report(), report(wrong(FREE), transformers=NEW)
    again = judge([before, before], [after, after])
    assert (again.verdict, again.doubtful) == (Answer.REGRESSIONS, [])
    wavering = judge([before, before], [after, report(transformers=NEW)])
    assert (wavering.verdict, wavering.groups) == (Answer.UNSURE, [])
    assert "wavers" in wavering.why[0]
    excused = judge([before, report(wrong(FREE))], [after, report(transformers=NEW)])
    assert (excused.verdict, excused.why) == (Answer.SAFE, [])


DIED, RIGHT, BAD = (record_of(FREE, Verdict.CRASHED, "died"), record_of(FREE, kernels=["flash"]), wrong(FREE))
FLAKY = record_of(FREE, Verdict.FLAKY, "why")


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        ([RIGHT, BAD], [BAD, BAD, BAD], Answer.UNSURE),
        ([RIGHT, RIGHT], [BAD, DIED], Answer.REGRESSIONS),
        ([RIGHT, RIGHT], [FLAKY, RIGHT, RIGHT], Answer.UNSURE),
        ([RIGHT, BAD], [FLAKY, RIGHT], Answer.SAFE),
        ([RIGHT, FLAKY], [RIGHT, FLAKY], Answer.SAFE),
        ([FLAKY, RIGHT], [BAD, BAD], Answer.UNSURE),
        ([RIGHT, RIGHT], [record_of(FREE, Verdict.NOT_BUILT, "why"), RIGHT], Answer.SAFE),
    ],
)
def test_what_a_side_wavers_about_is_weighed_by_all_of_its_runs(
    before: list[Record], after: list[Record], answer: Answer
) -> None:
    found = judge([report(one) for one in before], [report(one, transformers=NEW) for one in after])
    assert found.verdict is answer


@pytest.mark.parametrize("before", [Verdict.MISSING, Verdict.UNAVAILABLE, Verdict.NOT_BUILT, Verdict.FLAKY])
def test_what_fails_now_and_was_not_measured_before_cannot_be_told(before: Verdict) -> None:
    found = judge([report(record_of(FREE, before, "why"))], [report(wrong(FREE), transformers=NEW)])
    assert (found.verdict, found.exit_status, found.groups) == (Answer.UNSURE, 2, [])
    assert FREE in found.why[0]
    right = judge([report(record_of(FREE, before, "why"))], [report(transformers=NEW)])
    assert right.verdict is Answer.SAFE


@pytest.mark.parametrize("after", [Verdict.MISSING, Verdict.NOT_BUILT, Verdict.FLAKY])
def test_what_is_not_measured_any_more_cannot_be_told(after: Verdict) -> None:
    found = gate(record_of(FREE, after, "why"))
    assert (found.verdict, found.exit_status) == (Answer.UNSURE, 2)


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"stack": cuda_stack({"transformers": NEW})}, "device", "another device: cpu before, NVIDIA H100 after"),
        ({"seed": 3}, "seed", "another seed: 0 before, 3 after"),
        ({"profile": "full"}, "plan", "another profile: smoke before, full after"),
        ({"narrowed": "x"}, "plan", "another part of the profile: none before, x after"),
        ({"options": {"--fault": "x"}}, "plan", "--fault not given before, --fault x after"),
        ({"k_max": 9.0}, "plan", "k_max 3.0 before, k_max 9.0 after"),
    ],
)
def test_what_is_measured_otherwise_is_refused_unless_it_is_named(
    changes: dict[str, Any], name: str, words: str
) -> None:
    sides = [report()], [report(wrong(FREE), **{"transformers": NEW} | changes)]
    found = judge(*sides)
    assert (found.verdict, found.exit_status) == (Answer.UNSURE, 2)
    assert words in " ".join(found.why)
    assert judge(*sides, allowed=[Allowed(name)]).verdict is Answer.REGRESSIONS


def test_fixtures_of_the_other_run_make_both_sides_alike() -> None:
    second = report(transformers=NEW, options={"--fixtures-of": "33dfe5731f75"})
    assert judge([report()], [second]).verdict is Answer.SAFE


def test_a_run_that_was_cut_off_cannot_call_anything_safe() -> None:
    records = list(honest().values())
    part = make_report(make_run(*honest(), stack=make_stack({"transformers": NEW})), records[:-1])
    found = judge([report()], [part])
    assert found.verdict is Answer.UNSURE
    assert "after: the run was cut off" in found.why[0]
    assert judge([part], [report()]).verdict is Answer.UNSURE


def test_what_fails_the_new_run_beside_its_cells_cannot_be_called_safe() -> None:
    lacking = report(transformers=NEW).model_copy(update={"problems": ["--require flash-attn: not here"]})
    found = judge([report()], [lacking])
    assert (found.verdict, found.why) == (Answer.UNSURE, ["after: --require flash-attn: not here"])
    assert judge([report().model_copy(update={"problems": lacking.problems})], [lacking]).verdict is Answer.SAFE
    idle = "matrix/waivers/bloom.toml: waiver 2: the fault is gone: window_lost holds"
    assert judge([report()], [lacking.model_copy(update={"problems": [idle]})]).verdict is Answer.SAFE


def test_two_sides_with_nothing_in_common_cannot_be_compared() -> None:
    other = make_report(make_run(PINNED), [record_of(PINNED)], end=ended())
    one = make_report(make_run(FREE), [record_of(FREE)], end=ended())
    found = judge([one], [other])
    assert (found.verdict, found.compared) == (Answer.UNSURE, 0)
    assert [cause.kind for cause in found.groups] == [Kind.ADDED, Kind.DELETED]


@pytest.mark.parametrize("verdict", [Verdict.UNAVAILABLE, Verdict.NOT_BUILT, Verdict.FLAKY, Verdict.MISSING])
def test_what_neither_side_measured_is_not_compared(verdict: Verdict) -> None:
    cells = [record_of(cell, verdict, "why") for cell in honest()]
    row = RowRecord(family=Family.GUIDE, name="G6", outcome=RowOutcome.UNAVAILABLE, reason="needs cuda")
    found = judge([report(*cells, rows=(row,))], [report(*cells, rows=(row,), transformers=NEW)])
    assert (found.verdict, found.compared) == (Answer.UNSURE, 0)
    some = judge([report(*cells[1:])], [report(*cells[1:], transformers=NEW)])
    assert (some.verdict, some.compared) == (Answer.SAFE, 1)


def test_cells_that_only_one_side_plans_fail_nothing() -> None:
    found = gate(wrong("t5-float16-eager-prefill"))
    assert (found.verdict, found.counts[Kind.ADDED]) == (Answer.SAFE, 1)


def test_the_policy_says_what_counts_and_which_cells_matter() -> None:
    def answer(*changed: Record, **policy: Any) -> Answer:
        return gate(*changed, policy=Policy.model_validate(policy)).verdict

    other_words, vanished = refused("No"), instead(REFUSING, {}, {})
    assert answer(other_words, counts={"message": "regression"}) is Answer.REGRESSIONS
    assert answer(record_of(PINNED, kernels=["math"]), counts={"fallback": "change"}) is Answer.SAFE
    assert answer(vanished) is Answer.SAFE
    assert answer(vanished, strict=True) is Answer.REGRESSIONS
    assert answer(wrong(FREE), matters={"architectures": ["opt", "gpt*"]}) is Answer.SAFE
    assert answer(wrong(FREE), matters={"dtypes": ["float16"]}) is Answer.SAFE
    assert answer(wrong(FREE), matters={"backends": ["sdpa"]}) is Answer.REGRESSIONS
    assert answer(wrong(FREE), matters={"architectures": ["none_of_these"]}) is Answer.UNSURE
    close = record_of(FREE, kernels=["flash"], bounds=bounded(0.9))
    assert answer(close, within={"accuracy_factor": 4}) is Answer.SAFE
    assert gate(wrong(FREE), policy=Policy.model_validate({"matters": {"dtypes": ["float16"]}})).left_out == 1


def test_rows_of_no_architecture_are_no_answer_about_one() -> None:
    jamba = Policy.model_validate({"matters": {"architectures": ["jamba"]}})
    claim = RowRecord(family=Family.GUIDE, name="G6", outcome=RowOutcome.HOLDS)
    eager = claim.model_copy(update={"family": Family.EAGER, "name": "jamba"})

    def judged(old: tuple[RowRecord, ...], new: tuple[RowRecord, ...]) -> Gate:
        return judge([report(rows=old)], [report(rows=new, transformers=NEW)], jamba)

    assert judged((claim,), (claim,)).verdict is Answer.UNSURE
    assert judged((claim, eager), (claim, eager)).verdict is Answer.SAFE
    other = eager.model_copy(update={"name": "llama"})
    broken = other.model_copy(update={"outcome": RowOutcome.VIOLATED, "reason": "load: KeyError"})
    assert judged((eager, other), (eager, broken)).groups == []


def test_what_worked_and_is_not_measured_any_more_is_told() -> None:
    row = RowRecord(family=Family.GUIDE, name="G6", outcome=RowOutcome.HOLDS)
    found = judge([report(record_of("t5-float16-eager-prefill"), rows=(row,))], [report(transformers=NEW)])
    assert found.verdict is Answer.SAFE
    lines = list(gate_lines(found, Format.GITHUB))
    assert lines[0].startswith("::warning title=deleted%3A 2 × guide%3AG6::planned on one side only, and it worked")
    assert lines[-1].endswith("safe: nothing got worse; 2 not measured any more; 4 cells and rows compared")


def test_cells_that_one_repair_made_right_are_one_improvement() -> None:
    cells = [f"t5-{dtype}-sdpa-mem_efficient-{load}" for dtype in ("float16", "bfloat16") for load in LOADS]
    rule = replace(REFUSED, source="T5's position bias is a permuted tensor", message="No available kernel")
    said = [refused(f"No available kernel in /x/{n}/{cell}", cell) for n, cell in enumerate(cells)]
    before = [one.model_copy(update={"expectation": rule}) for one in said]
    after = [instead(cell, {}, {}, Device.CUDA).model_copy(update={"expectation": rule}) for cell in cells]
    stack = cuda_stack({"transformers": NEW})
    found = judge([report(*before, stack=cuda_stack())], [report(*after, stack=stack)])
    (cause,) = found.groups
    assert (found.verdict, cause.kind, cause.count) == (Answer.SAFE, Kind.IMPROVEMENT, len(cells))
    assert cause.example == min(cells, key=len)
    assert cause.where == "t5 · sdpa (mem_efficient)"
    (proposal,) = found.proposals
    assert proposal.cells == len(cells)


@PROPERTY
@given(st.integers(0, 2**32), st.booleans())
def test_no_noise_changes_the_answer(seed: int, regressed: bool) -> None:
    """Paths, ids, addresses, hashes, times and the order of the records, on either side."""
    draw = random.Random(seed)

    def noisy(record: Record) -> Record:
        failure = record.observation.failure
        digest = f"{draw.randrange(16**12):012x}"
        passing = f" at /tmp/{draw.randrange(10**6)}/x: object 0x{digest} of t5-0{digest}"
        if failure is not None:
            failure = replace(failure, message=failure.message + passing)
        seen = replace(record.observation, failure=failure, seconds={"load": draw.random(), "forward": draw.random()})
        return record.model_copy(update={"observation": seen, "reason": record.reason + passing, "worker": passing})

    def shuffled(one: Report) -> Report:
        records = [noisy(record) for record in one.records]
        draw.shuffle(records)
        return one.model_copy(update={"records": records})

    after = report(*([wrong(FREE)] if regressed else []), transformers=NEW)
    plain, found = judge([report()], [after]), judge([shuffled(report())], [shuffled(after)])
    assert found.exit_status == int(regressed)
    assert [(cause.kind, cause.names) for cause in found.groups] == [(c.kind, c.names) for c in plain.groups]


def hostile() -> Gate:
    title = "a,b: 50 %\n::error::<script>alert(1)</script> | \x1b[2J"
    return gate(
        wrong(FREE, waived=Waived(reason=title, url="javascript:alert(1)")), refused(f"{title} {REFUSAL.message}")
    )


def test_annotations_are_escaped_as_github_asks() -> None:
    lines = list(gate_lines(hostile(), Format.GITHUB))
    assert all(line.startswith(("::error title=", "::warning title=", "::notice title=")) for line in lines)
    assert not any("\n" in line for line in lines)
    first = lines[0]
    assert first.startswith(f"::error title=regression (known)%3A {FREE}::")
    assert "50 %25 ::error::<script>" in first
    assert "%0Aoff by 3%0A" in first
    assert list(gate_lines(gate(), Format.GITHUB)) == [
        "::notice title=upgrade::safe: nothing got worse; 4 cells and rows compared"
    ]


def test_nothing_in_a_report_commands_the_service_that_runs_the_gate() -> None:
    reason = "line one\n::error title=x::injected"
    row = RowRecord(family=Family.GUIDE, name="G6\n::error::name", outcome=RowOutcome.HOLDS)
    bad = row.model_copy(update={"outcome": RowOutcome.VIOLATED, "reason": reason})
    old = report(rows=(row,))
    new = report(rows=(bad,), transformers="1\n::warning::v")
    lines = [*gate_lines(judge([old], [new]), Format.TEXT), *text_lines(compare(old, new))]
    assert any("injected" in line for line in lines)
    assert not any(line.strip().startswith("::") for told in lines for line in told.splitlines())


def test_nothing_in_a_report_is_markup() -> None:
    page, text = render_gate(hostile()), "\n".join(gate_lines(hostile(), Format.MARKDOWN))
    for told in (page, text):
        assert "<script>alert" not in told
    assert "script-src 'none'" in page.replace("&#39;", "'")
    assert 'javascript:alert(1)"' not in page


def test_the_document_has_a_schema_and_survives_a_round_trip() -> None:
    found = hostile()
    (text,) = gate_lines(found, Format.JSON)
    assert Gate.model_validate_json(text) == found
    schema = json_schema()
    assert set(json.loads(text)) == set(schema["properties"])


def test_names_after_allow() -> None:
    assert parse_allowed("") == ()
    assert parse_allowed("device,seed") == (Allowed.DEVICE, Allowed.SEED)
    with pytest.raises(UsageError, match="may be device, plan, seed"):
        parse_allowed("device,everything")


@pytest.fixture
def sides(tmp_path: Path) -> list[str]:
    for name, one in (("old", report()), ("new", report(wrong(FREE), transformers=NEW))):
        (tmp_path / name).mkdir()
        write_json(one, tmp_path / name)
    return [str(tmp_path / "old"), str(tmp_path / "new")]


def test_the_command_ends_with_the_answer(sides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def ends(*arguments: str) -> int:
        return CliRunner().invoke(app, ["gate", *arguments]).exit_code

    assert ends(sides[0], sides[0]) == 0
    assert ends(*sides) == 1
    (tmp_path / "mine.toml").write_text("[matters]\narchitectures = ['opt']\n", encoding="utf-8")
    assert ends(*sides, "--policy", "mine.toml") == 0


def again(one: Report, **changes: Any) -> Report:
    return one.model_copy(update={"run": one.run.model_copy(update={"started": LATER, **changes})})


LATER = datetime(2026, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("further", "words"),
    [
        (report(), "second: is the same run as first; name one that measured it again"),
        (again(report(transformers=NEW)), f"second: was measured with transformers {NEW}, first with 5.23.0: it is no"),
        (again(report(), stack=cuda_stack({"transformers": "5.23.0"})), "second: has another device than first"),
        (again(report(), seed=3), "second: has another seed than first, 3 and not 0; measure it again"),
        (again(report(), options={"--fault": "x"}), "second: has another set of options than first, --fault x and not"),
    ],
)
def test_a_further_run_of_a_side_is_one_of_that_side(further: Report, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_repeated([("first", report()), ("second", further)])
    assert str(raised.value).startswith(words)
    check_repeated([("first", report()), ("second", again(report(), narrowed="--only", profile="zoo"))])


def test_the_command_looks_at_further_runs(sides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "later").mkdir()
    write_json(again(report(wrong(FREE), transformers=NEW)), tmp_path / "later")

    def ended_with(before: str, after: str) -> Result:
        return CliRunner().invoke(app, ["gate", *sides, "--before-again", before, "--after-again", after])

    assert "is the same run" in str(ended_with(sides[0], str(tmp_path / "later")).exception)
    (tmp_path / "earlier").mkdir()
    write_json(again(report()), tmp_path / "earlier")
    assert ended_with(str(tmp_path / "earlier"), str(tmp_path / "later")).exit_code == 1
    assert "no further run of that side" in str(
        ended_with(str(tmp_path / "later"), str(tmp_path / "earlier")).exception
    )


@pytest.mark.parametrize("form", list(Format))
def test_the_command_tells_it_in_every_form_and_not_over_its_sources(
    sides: list[str], tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "gate"
    printed = CliRunner().invoke(app, ["gate", *sides, "--format", form])
    assert printed.exit_code == 1
    assert FREE in printed.output
    answer = CliRunner().invoke(app, ["gate", *sides, "--format", form, "-o", str(target)])
    assert answer.exit_code == 1
    assert answer.output.splitlines()[-1] == str(target)
    assert target.read_text(encoding="utf-8") == printed.output
    bad = CliRunner().invoke(app, ["gate", *sides, "-o", str(Path(sides[0]) / "matrix.json")])
    assert isinstance(bad.exception, UsageError)


def test_the_schema_of_the_gate_is_printed() -> None:
    answer = CliRunner().invoke(app, ["schema", "--of", "gate"])
    assert json.loads(answer.output) == json_schema()


PUBLISHED = ROOT / "reports" / "published"
H100 = "nvidia-h100-torch2.11.0-transformers{}.json.gz"
GUIDE = "cpu-torch2.13.0-transformers{}-guide.json.gz"


def published(name: str) -> Report:
    return read_report(PUBLISHED / name)


@pytest.mark.parametrize("name", [H100.format("5.17.0"), GUIDE.format("4.48.3"), GUIDE.format("5.23.0")])
def test_a_real_run_is_safe_beside_itself(name: str) -> None:
    found = judge([published(name)], [published(name)])
    assert (found.verdict, found.groups, found.doubtful) == (Answer.SAFE, [], [])


def test_two_real_runs_of_four_hundred_changes_come_to_their_causes() -> None:
    found = judge([published(GUIDE.format("4.57.6"))], [published(GUIDE.format("5.23.0"))])
    told = [(one.kind, one.count, one.example) for one in found.groups]
    assert told == [
        (Kind.REGRESSION, 4, "guide:G16-int8_t5-guide"),
        (Kind.REGRESSION, 1, "guide:G6-lora_4bit-guide"),
        (Kind.CHANGE, 155, "guide:G7-bettertransformer_vit-guide"),
        (Kind.CHANGE, 66, "guide:G2-flash_on_cpu-guide"),
        (Kind.CHANGE, 4, "t5-bfloat16-eager-int8-left-prefill"),
        (Kind.CHANGE, 4, "guide:G12-fp4_bloom-guide"),
        (Kind.CHANGE, 3, "guide:G14-cast_by_to-guide"),
    ]
    assert "unexpected keyword argument 'load_in_8bit'" in found.groups[0].cause
    assert "unexpected keyword argument 'load_in_4bit'" in found.groups[1].cause
    assert "to_bettertransformer" in found.groups[2].cause
    assert "FlashAttention2" in found.groups[3].cause
    assert "no longer in float32" in found.groups[4].found[0]


def test_seven_hundred_changes_of_an_h100_come_to_a_few_causes() -> None:
    sides = [published(H100.format("4.48.3"))], [published(H100.format("5.17.0"))]
    found = judge(*sides, allowed=[Allowed.PLAN])
    causes = {(one.kind, one.cause): one for one in found.groups if one.kind not in (Kind.ADDED, Kind.DELETED)}
    assert sum(one.count for one in causes.values()) > 700
    assert len(causes) < 40
    (falcon,) = [one for (_, cause), one in causes.items() if "FalconLinear" in cause]
    assert (falcon.kind, falcon.aspect, falcon.count) == (Kind.REGRESSION, Aspect.KNOWN, 109)
    (t5,) = [one for (kind, cause), one in causes.items() if kind is Kind.IMPROVEMENT and "T5Pre" in cause]
    assert (t5.count, t5.where) == (44, "t5 · sdpa, sdpa (math)")
