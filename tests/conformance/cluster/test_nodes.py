"""Which nodes may measure together, and what a task asks of one."""

from typing import Any

import pytest

from conformance.cluster.nodes import Found, Node, Slots, check, slots_of
from matrix.errors import UsageError


def node(address: str, **resources: float) -> Node:
    named = {name.replace("type_", "type:"): amount for name, amount in resources.items()}
    return Node(address, address, named)


def test_without_gpus_a_task_has_a_core() -> None:
    assert slots_of([node("a", CPU=2), node("b", CPU=3)]) == [Slots("", 0, 1, 5)]


def test_with_gpus_there_is_a_report_for_each_model_and_nodes_without_are_left_alone() -> None:
    nodes = [
        node("head", CPU=8),
        node("a", CPU=32, GPU=2, accelerator_type_H100=1),
        node("b", CPU=20, GPU=2, accelerator_type_H100=1),
        node("c", CPU=2, GPU=4, accelerator_type_A100=1),
    ]
    found = slots_of(nodes)
    assert found == [Slots("H100", 1, 10, 4), Slots("A100", 1, 1, 2)]
    assert found[0].resources == {"accelerator_type:H100": 0.001}
    assert slots_of([node("a", CPU=4, GPU=1)])[0].resources == {}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("head", CPU=0)], "no node with a CPU or GPU"),
        ([node("a", CPU=1, GPU=1), node("b", GPU=1)], "node b: lends GPUs, but no core"),
        (
            [node("a", CPU=1, GPU=1), node("b", CPU=1, GPU=1, accelerator_type_L4=1)],
            "node a: Ray does not know the model",
        ),
    ],
)
def test_nodes_that_lend_nothing_or_cannot_be_told_apart_are_refused(nodes: list[Node], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        slots_of(nodes)


def test_a_task_fits_where_all_is_that_it_asks_for() -> None:
    of_gpu, of_core = Slots("H100", 1, 10, 4), Slots("", 0, 1, 4)
    h100 = node("a", CPU=32, GPU=2, accelerator_type_H100=1)
    assert of_gpu.fit(h100)
    assert of_core.fit(node("b", CPU=1))
    assert not of_gpu.fit(node("c", CPU=32, GPU=2, accelerator_type_A100=1))
    assert not of_gpu.fit(node("d", CPU=9, GPU=2, accelerator_type_H100=1))
    assert not of_core.fit(node("head", CPU=0))
    assert (str(of_gpu), str(of_core)) == ("1 H100 and 10 cores", "1 core")


GOOD = Found({"torch": "2.13.0", "transformers": "5.23.0"}, "abc")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Found(problem="torch not installed there"), "node b: torch not installed there"),
        (Found(GOOD.versions, "def"), "node b: commit def of the suite, but abc where this command runs"),
        (
            Found({"torch": "2.12.0", "transformers": "5.23.0"}, "abc"),
            "node b: torch 2.12.0, but 2.13.0 on a; install the same on both",
        ),
        (
            Found({**GOOD.versions, "peft": "1.0"}, "abc"),
            "node b: peft 1.0, but not installed on a; install the same on both",
        ),
    ],
)
def test_a_node_that_cannot_measure_what_the_others_do_is_named_in_one_line(other: Any, said: str) -> None:
    check({"a": GOOD, "c": GOOD}, "abc")
    with pytest.raises(UsageError) as refused:
        check({"a": GOOD, "b": other}, "abc")
    assert str(refused.value) == said
