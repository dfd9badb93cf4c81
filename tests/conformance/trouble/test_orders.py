"""Which cell meets which trouble: one that has its moment, and never two that follow each other."""

import pytest

from conformance.trouble.catalogue import TROUBLES
from conformance.trouble.orders import Moment, Orders, deal
from matrix.errors import UsageError
from matrix.stack import Device
from matrix.verdict import Verdict
from tests.builders import cuda_stack, make_stack

PREFILL, GENERATE = (f"gpt2-float32-sdpa-left-{workload}" for workload in ("prefill", "generate"))
OTHERS = [f"opt-{dtype}-sdpa-{workload}" for dtype in ("float16", "bfloat16") for workload in ("prefill", "generate")]


def test_each_trouble_has_a_cell_of_its_moment_and_the_next_cell_has_none() -> None:
    wanted = [("abort", Moment.GENERATE), ("abort", Moment.FORWARD), ("abort", Moment.LOAD)]
    found = deal([PREFILL, *OTHERS, GENERATE], wanted)
    assert found == {PREFILL: wanted[1], OTHERS[1]: wanted[0], OTHERS[3]: wanted[2]}


def test_too_few_cells_are_said_and_what_is_left() -> None:
    with pytest.raises(UsageError, match="1 troubles, such as abort in generate, have no cell"):
        deal([PREFILL, PREFILL, PREFILL], [("abort", Moment.GENERATE)])


def test_orders_are_the_same_when_they_are_read() -> None:
    orders = Orders({PREFILL: ("abort", Moment.LOAD)}, "/there", 1.5)
    assert Orders.read(orders.line()) == orders
    assert Orders.read("{}") == Orders()


def test_every_trouble_can_be_told_apart_and_leaks_are_of_cells_that_are_right() -> None:
    assert len(TROUBLES) > 40
    assert all(name == one.name and one.about and one.moments for name, one in TROUBLES.items())
    assert all(
        one.verdict is Verdict.SUPPORTED for one in TROUBLES.values() if one.leaves or Moment.AFTER in one.moments
    )
    assert {one.suits(make_stack(device=Device.CPU)) for one in TROUBLES.values() if one.needs_cuda} == {False}
    assert all(one.suits(cuda_stack()) for one in TROUBLES.values())
