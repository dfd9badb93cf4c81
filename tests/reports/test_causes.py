"""Failures of one cause are one entry."""

from dataclasses import replace

from matrix.observation import Evidence, Failure, Observation, Origin, Phase
from matrix.verdict import Verdict
from reports.causes import cause_of, failure_groups
from reports.document import Record
from tests.builders import record_of

ORIGIN = Origin("", 0, "model.layers.0.self_attn", "LlamaAttention", "padded rows only", 9, 1, 2, 0, 1, True)
FAILURE = Failure(Phase.FORWARD, "ValueError", "no 3", frames=("transformers/a.py:10 forward", "torch/b.py:20 linear"))


def failed(cell: str, verdict: Verdict = Verdict.INACCURATE, reason: str = "x", **observed: object) -> Record:
    record = record_of(cell, verdict, reason)
    observation: Observation = replace(record.observation, **observed)  # type: ignore[arg-type]
    return record.model_copy(update={"observation": observation})


def test_wrong_numbers_are_gathered_by_class_and_pattern_whatever_the_layer() -> None:
    other = replace(ORIGIN, module="model.layers.5.self_attn", candidate=3.0)
    groups = failure_groups(
        [
            failed("llama-float32-sdpa-flash-left-prefill", origin=ORIGIN),
            failed("llama-float32-sdpa-prefill", origin=other),
            failed("llama-float32-sdpa-left-prefill", origin=replace(ORIGIN, pattern="last token only")),
            failed("bert-float32-sdpa-prefill", origin=replace(ORIGIN, kind="BertSelfAttention")),
        ]
    )
    assert [record.cell for record in groups[0].records] == [
        "llama-float32-sdpa-prefill",
        "llama-float32-sdpa-flash-left-prefill",
    ]
    assert len(groups) == 3
    assert groups[0].cause == "begins in LlamaAttention, padded rows only"


def test_exceptions_are_gathered_by_type_and_innermost_frame_whatever_its_line() -> None:
    moved = replace(FAILURE, message="no 4", frames=(*FAILURE.frames[:-1], "torch/b.py:21 linear"))
    elsewhere = replace(FAILURE, frames=("torch/c.py:20 linear",))
    otherwise = replace(FAILURE, message="mixed dtypes")
    found = [
        failed("llama-float32-sdpa-prefill", Verdict.ERROR, failure=one)
        for one in (FAILURE, moved, elsewhere, otherwise)
    ]
    assert [len(group.records) for group in failure_groups(found)] == [2, 1, 1]
    assert cause_of(found[0]) == "ValueError at torch/b.py linear: no #"
    ours = failed("llama-float32-sdpa-prefill", Verdict.ERROR, failure=replace(FAILURE, frames=FAILURE.frames[:1]))
    assert cause_of(ours) == "ValueError at transformers/a.py forward"


def test_what_a_checkpoint_lacks_comes_before_all_else() -> None:
    lacking = failed("llama-float32-sdpa-prefill", origin=ORIGIN, evidence=Evidence(missing_parameters=("a",)))
    assert cause_of(lacking) == "the checkpoint lacks parameters"


def test_a_gradient_is_another_cause_than_a_number() -> None:
    found = [failed("llama-float32-sdpa-train", origin=one) for one in (ORIGIN, replace(ORIGIN, backwards=True))]
    assert len(failure_groups(found)) == 2
