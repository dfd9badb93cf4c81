"""Dials of classes whose attention is code of their own: what they project is turned, and read where it is far off."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from conformance.bench import Bench
from conformance.dial_power import Laboratory, Share
from conformance.dials.catalogue import parts
from conformance.dials.projections import PROJECTED
from conformance.faults.catalogue import Fault
from matrix.axes import Attention, Dtype
from matrix.cell import Cell, parse_cell
from matrix.dials import Reading, cause
from matrix.stack import Device
from tests.builders import ARCHITECTURES, make_stack


def read(cell: str, cache: Path, loaded: Callable[[Any, Cell], None]) -> tuple[Reading, ...]:
    """What is read of a candidate to which that was done when it was loaded."""
    fault = Fault("changed", "", bool, loaded=loaded)
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault)
    (comparison,) = bench.run(parse_cell(cell)).comparisons
    return comparison.readings


def scaled(by: float) -> Callable[[Any, Cell], None]:
    def change(model: Any, cell: Cell) -> None:
        for module in parts(model, "self_attn"):
            module.scaling *= 1 + by / 100

    return change


def sinks_lost(by: float) -> Callable[[Any, Cell], None]:
    def change(model: Any, cell: Cell) -> None:
        for module in parts(model, "self_attn"):
            module.sinks.data += math.log(1 - by / 100)

    return change


def larger(names: tuple[str, ...], by: float, heads: int = 1) -> Callable[[Any, Cell], None]:
    """Weights and biases of those projections: of the first of so many heads."""

    def change(model: Any, cell: Cell) -> None:
        for module in parts(model, *names):
            rows = len(module.weight) // heads
            for parameter in module.parameters():
                parameter.data[:rows] *= 1 + by / 100

    return change


@pytest.mark.parametrize(
    ("cell", "change", "dial", "size"),
    [
        ("gpt_oss-float32-eager-left-prefill", scaled(1.0), "scale", 1),
        ("gpt_oss-bfloat16-eager-left-prefill", scaled(20.0), "scale", 20),
        ("gpt_oss-bfloat16-eager-left-prefill", larger(("q_proj",), 300.0, 4), "head_scale", 300),
        ("gpt_oss-bfloat16-eager-left-generate", sinks_lost(99.0), "sinks", 99),
        ("gpt_oss-float16-eager-left-prefill", sinks_lost(50.0), "sinks", 50),
        ("led-bfloat16-eager-left-prefill", larger(("query", "q_proj"), 20.0), "scale", 20),
        ("led-float16-eager-left-generate", larger(("value", "v_proj"), 10.0), "values", 10),
    ],
)
def test_what_is_far_off_is_named_and_its_size_is_read(
    cell: str, change: Callable[[Any, Cell], None], dial: str, size: int, cache: Path
) -> None:
    found = cause(read(cell, cache, change))
    assert found is not None
    assert found.dial == dial
    assert abs(found.value - size) <= 4 * found.bar


def test_of_an_honest_run_nothing_is_read(cache: Path) -> None:
    assert read("gpt_oss-bfloat16-eager-left-prefill", cache, scaled(0.0)) == ()


@pytest.mark.parametrize("dial", PROJECTED)
def test_a_dial_at_0_changes_nothing_and_is_put_back(dial: str, cache: Path) -> None:
    share = Share("gpt_oss", Dtype.FLOAT32, 0, make_stack(device=Device.CPU), cache)
    own = Laboratory(ARCHITECTURES["gpt_oss"], share)
    model = own.loaded(Attention.EAGER)
    run = partial(model, torch.arange(40).reshape(2, 20))
    with torch.no_grad():
        straight = run().logits
        for by, changes in ((0.0, False), (50.0, True)):
            with PROJECTED[dial].turning(model, by):
                assert torch.equal(run().logits, straight) is not changes
            assert torch.equal(run().logits, straight)


class Projecting(nn.Module):
    """Attention, as far as its projections go."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(4, 4))


def test_what_a_convolution_projects_has_positions_where_heads_would_be() -> None:
    model = Projecting("q_proj", "v_proj")
    model.add_module("q_proj", nn.Conv1d(4, 4, 1))
    assert not PROJECTED["scale"].suits(model)


@pytest.mark.parametrize(
    ("names", "suits"),
    [
        (("q_proj", "k_proj", "v_proj"), True),
        (("query", "value"), True),
        (("q_proj", "q_norm", "v_proj"), False),
        (("q_proj", "kv_proj"), False),
        (("query_key_value",), False),
    ],
)
def test_a_query_that_is_normalised_or_not_alone_cannot_be_turned(names: tuple[str, ...], suits: bool) -> None:
    assert PROJECTED["scale"].suits(Projecting(*names)) is suits
