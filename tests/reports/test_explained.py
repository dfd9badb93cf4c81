"""What the dials say of cells with wrong numbers: one account for each thing they say."""

from dataclasses import replace

import pytest

from matrix.cell import parse_cell
from matrix.dials import Reading
from matrix.verdict import Verdict
from reports.document import Record
from reports.explained import accounts, why_wrong
from tests.builders import completed, read, record_of


def reading(value: float, bar: float = 0.03, explains: float = 0.99, dial: str = "scale", *also: str) -> Reading:
    return Reading(dial, "%", value, bar, explains, also)


def wrong(cell_id: str, *readings: Reading, verdict: Verdict = Verdict.INACCURATE) -> Record:
    return record_of(cell_id, verdict, observation=read(parse_cell(cell_id), *readings))


def infinite(cell_id: str) -> Record:
    honest = completed(parse_cell(cell_id))
    comparisons = tuple(replace(one, finite=False) for one in honest.comparisons)
    return record_of(cell_id, Verdict.INACCURATE, observation=replace(honest, comparisons=comparisons))


def test_cells_are_told_by_dial_then_unexplained_then_unread() -> None:
    records = [
        wrong("opt-float16-sdpa-prefill"),
        infinite("t5-float16-sdpa-prefill"),
        wrong("gpt2-float16-sdpa-prefill", reading(0.0, explains=0.0)),
        wrong("bert-float16-sdpa-prefill", reading(1.0, dial="values")),
        wrong("llama-float16-sdpa-prefill", reading(5.0)),
        wrong("llama-bfloat16-sdpa-prefill", reading(4.9, bar=0.3, explains=0.96)),
        wrong("mistral-float16-sdpa-prefill", reading(0.0, explains=0.0), reading(2.0, explains=0.2)),
        wrong("mistral-float16-sdpa-left-prefill", reading(5.0), verdict=Verdict.CRASHED),
    ]
    found = accounts(records)
    assert [one.line for one in found] == [
        "softmax scale +4.90 to +5.00 %: explains 96 % to 99 % of the error in 2 cells",
        "output of every head +1.000 ± 0.030 %: explains 99 % of the error in 1 cell",
        "softmax scale +2.000 ± 0.030 %: explains 20 % of the error, and no dial more than half of it in 1 cell",
        "no dial explains the error in 1 cell",
        "not read, for their numbers are NaN or infinite, in 1 cell",
        "not read in 1 cell",
    ]
    assert [one.is_read for one in found] == [True, True, True, True, False, False]
    assert [one.records[0].axes["architecture"] for one in found] == [
        "llama",
        "bert",
        "mistral",
        "gpt2",
        "t5",
        "opt",
    ]


def test_what_reads_alike_is_told_once() -> None:
    twice = [wrong(f"llama-float16-sdpa-{more}prefill", reading(5.0)) for more in ("", "auto-")]
    assert [one.line for one in accounts(twice)] == ["softmax scale +5.000 %: explains 99 % of the error in 2 cells"]


def test_dials_that_nobody_can_tell_apart_are_another_cause_than_one_of_them() -> None:
    both = wrong("gpt2-float16-sdpa-prefill", reading(1.0, 0.03, 0.99, "values", "head_gain"))
    one = wrong("llama-float16-sdpa-prefill", reading(1.0, dial="values"))
    assert len(accounts([both, one])) == 2


@pytest.mark.parametrize("verdict", [Verdict.SUPPORTED, Verdict.INACCURATE])
def test_only_wrong_numbers_need_a_diagnosis(verdict: Verdict) -> None:
    assert bool(why_wrong(wrong("llama-float16-sdpa-prefill", reading(5.0), verdict=verdict))) is (
        verdict is Verdict.INACCURATE
    )
