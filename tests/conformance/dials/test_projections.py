"""Dials of classes whose attention is code of their own: what they project is turned, and read where it is far off."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from conformance.bench import Bench
from conformance.dial_power import Laboratory, Share
from conformance.dials.projections import PROJECTED
from conformance.faults.catalogue import Fault
from matrix.axes import Attention, Dtype
from matrix.cell import parse_cell
from matrix.dials import Reading, cause
from matrix.stack import Device
from tests.builders import ARCHITECTURES, make_stack


def read(cell: str, dial: str, by: float, cache: Path) -> tuple[Reading, ...]:
    """What is read where that dial of the candidate is off by so much."""
    fault = Fault("turned", "", bool, running=lambda model: PROJECTED[dial].turning(model, by))
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault)
    (comparison,) = bench.run(parse_cell(cell)).comparisons
    return comparison.readings


@pytest.mark.parametrize(
    ("cell", "dial", "by"),
    [
        ("gpt_oss-float32-eager-left-prefill", "scale", 1.0),
        ("gpt_oss-bfloat16-eager-left-prefill", "head_scale", 300.0),
        ("gpt_oss-bfloat16-eager-left-generate", "sinks", 100.0),
        ("gpt_oss-float16-eager-left-prefill", "sinks", 50.0),
        ("led-bfloat16-eager-left-prefill", "scale", 20.0),
        ("led-float16-eager-left-generate", "values", 10.0),
    ],
)
def test_what_is_far_off_is_named_and_its_size_is_read(cell: str, dial: str, by: float, cache: Path) -> None:
    found = cause(read(cell, dial, by, cache))
    assert found is not None
    assert (found.dial, round(found.value / by, 1)) == (dial, 1.0)


def test_of_an_honest_run_nothing_is_read(cache: Path) -> None:
    assert read("gpt_oss-bfloat16-eager-left-prefill", "scale", 0.0, cache) == ()


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
