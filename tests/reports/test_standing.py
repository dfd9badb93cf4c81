"""Which step is for the worse, and whether what ran instead of a refusal is what the cell names."""

from dataclasses import replace
from itertools import product

import pytest

from matrix.cell import parse_cell
from matrix.observation import Observation
from matrix.rows import Family, RowOutcome
from matrix.stack import Device
from matrix.verdict import Verdict
from reports.document import RowRecord
from reports.standing import Move, Standing, move, standing_of
from tests.builders import REFUSAL, REFUSED, completed, record_of

ONE = "llama-bfloat16-sdpa-prefill"
KNOWN = [standing for standing in Standing if standing is not Standing.UNKNOWN]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Standing.WORKS, Standing.FALLS_BACK),
        (Standing.WORKS, Standing.RAISES),
        (Standing.WORKS, Standing.WRONG),
        (Standing.WORKS, Standing.ABSENT),
        (Standing.FALLS_BACK, Standing.WRONG),
        (Standing.RAISES, Standing.WRONG),
        (Standing.RAISES, Standing.DIES),
    ],
)
def test_a_step_for_the_worse_is_one_for_the_better_the_other_way(before: Standing, after: Standing) -> None:
    assert (move(before, after), move(after, before)) == (Move.WORSE, Move.BETTER)


def test_what_works_gets_worse_by_any_step_and_what_fails_in_two_ways_by_none() -> None:
    for before, after in product(KNOWN, KNOWN):
        assert (move(before, after) is Move.OTHER) is (move(after, before) is Move.OTHER)
        if before is Standing.WORKS:
            assert move(before, after) is (Move.OTHER if before is after else Move.WORSE)
    assert move(Standing.WRONG, Standing.DIES) is Move.OTHER


def test_a_silent_fallback_is_worse_than_the_error_that_it_hides_and_the_error_worse_than_it() -> None:
    assert move(Standing.RAISES, Standing.FALLS_BACK) is Move.WORSE
    assert move(Standing.FALLS_BACK, Standing.RAISES) is Move.WORSE


def unexpected(observation: Observation, cell: str = ONE) -> Standing:
    return standing_of(record_of(cell, Verdict.UNEXPECTED, expectation=REFUSED, observation=observation), Device.CPU)


def test_a_documented_error_that_did_not_come_is_judged_by_what_ran_instead() -> None:
    seen = completed(parse_cell(ONE))
    eager = replace(seen.evidence, attn_implementations={"LlamaModel": "eager"}, sdpa_calls=0, attention_ops={})
    assert unexpected(seen) is Standing.WORKS
    assert unexpected(replace(seen, evidence=eager)) is Standing.FALLS_BACK


def test_what_a_type_of_the_library_keeps_is_not_held_against_it() -> None:
    cell = "some_type-float16-sdpa-prefill"
    seen = completed(parse_cell(cell))
    kept = replace(seen.evidence, foreign_parameters={"float32": ("norm.weight",)})
    assert unexpected(replace(seen, evidence=kept), cell) is Standing.WORKS
    assert (
        unexpected(replace(seen, evidence=replace(kept, sdpa_calls=0, attention_ops={})), cell) is Standing.FALLS_BACK
    )


@pytest.mark.parametrize(
    ("message", "standing"),
    [
        ("CUDA error: an illegal memory access was encountered", Standing.DIES),
        ("CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx", Standing.DIES),
        ("false INTERNAL ASSERT FAILED at file", Standing.DIES),
        ("this kernel does not run on CUDA", Standing.RAISES),
    ],
)
def test_an_error_of_the_device_is_no_refusal(message: str, standing: Standing) -> None:
    seen = completed(parse_cell(ONE), failure=replace(REFUSAL, message=message))
    assert standing_of(record_of(ONE, Verdict.ERROR, observation=seen), Device.CUDA) is standing


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_and_outcome_stands_somewhere(verdict: Verdict) -> None:
    assert standing_of(record_of(ONE, verdict), Device.CPU) in Standing
    for outcome in RowOutcome:
        assert standing_of(RowRecord(family=Family.GUIDE, name="G1", outcome=outcome), Device.CPU) in Standing
