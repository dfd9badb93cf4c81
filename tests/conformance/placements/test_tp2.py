"""Divided between two processes: what is told instead of a device_map, and what shows that it was."""

from dataclasses import replace

import pytest

from conformance.models.loading import map_arguments
from conformance.rooms import doing
from matrix.cell import make_cell
from matrix.constraints import why_impossible
from matrix.expectation import Outcome, expect
from matrix.observation import Evidence
from matrix.placements import PLACEMENTS
from matrix.verdict import left_whole
from tests.builders import ARCHITECTURES, cuda_stack, make_stack

CELL = make_cell("llama", dtype="float32", attention="sdpa", device_map="tp2", workload="prefill")
HALVED = Evidence(placement={"cpu": 21}, rank_bytes=(50, 50), whole_bytes=99, divided=16)


def test_what_from_pretrained_is_given() -> None:
    assert map_arguments(CELL, None, doing(CELL)) == {"tp_plan": "auto"}
    plain = replace(CELL, device_map=PLACEMENTS["none"])
    assert map_arguments(plain, None, doing(plain)) == {}


@pytest.mark.parametrize(
    ("evidence", "word"),
    [
        (replace(HALVED, divided=0, rank_bytes=(99, 99)), "every parameter lies whole"),
        (replace(HALVED, rank_bytes=(50,)), "1 processes held"),
        (replace(HALVED, placement={"meta": 21}), "parameters lie on"),
    ],
)
def test_what_was_not_divided_is_seen(evidence: Evidence, word: str) -> None:
    substituted = PLACEMENTS["tp2"].substituted
    assert substituted is not None
    assert not list(substituted(CELL, ARCHITECTURES["llama"], HALVED, "cpu"))
    (said,) = substituted(CELL, ARCHITECTURES["llama"], evidence, "cpu")
    assert word in said


def test_little_that_is_divided_is_said_of_a_cell_that_is_right() -> None:
    assert not list(left_whole(HALVED))
    assert not list(left_whole(Evidence(weight_bytes=99)))
    (said,) = left_whole(replace(HALVED, rank_bytes=(90, 89)))
    assert "91% of the weights" in said


def test_it_needs_as_many_gpus_as_processes_where_there_are_any() -> None:
    assert expect(CELL, make_stack(), ()).outcome is Outcome.SUPPORTED
    one = cuda_stack()
    one = replace(one, gpus=one.gpus[:1])
    assert expect(CELL, one, ()).missing == ("2 GPUs",)
    assert expect(CELL, replace(one, gpus=one.gpus * 2), ()).outcome is Outcome.SUPPORTED


@pytest.mark.parametrize(
    ("workload", "possible"), [("reload", True), ("repeated_loads", True), ("train", False), ("stepwise", False)]
)
def test_what_is_tried_between_two(workload: str, possible: bool) -> None:
    cell = make_cell("llama", dtype="float32", attention="sdpa", device_map="tp2", workload=workload)
    assert (why_impossible(cell, ARCHITECTURES["llama"]) is None) is possible
