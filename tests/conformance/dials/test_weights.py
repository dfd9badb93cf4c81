"""Dials of quantised weights: they move what the quantiser made, and name what a reader of it got wrong."""

from pathlib import Path

import pytest
import torch

from conformance.bench import Bench
from conformance.dials.weights import dials_of_weights, steps
from conformance.faults import find
from conformance.judging.shared import Kept, SharedReferences
from conformance.models.fixtures import fixture
from conformance.models.loading import Source
from matrix.cell import parse_cell
from matrix.dials import cause
from matrix.stack import Device
from tests.builders import ARCHITECTURES

NEEDS = {"ct": "compressed_tensors", "quanto": "optimum.quanto", "torchao": "torchao"}


def references(cell: str, cache: Path) -> SharedReferences:
    parsed = parse_cell(cell)
    architecture = ARCHITECTURES[parsed.architecture]
    return SharedReferences(
        parsed, Source(architecture, str(fixture(architecture, cache))), torch.device("cpu"), Kept()
    )


@pytest.mark.parametrize(
    ("fault", "dtype", "dial", "size"),
    [
        ("mxfp4_bias", "bfloat16", "weights_scale", -50.0),
        ("quanto_int4_shift_off", "bfloat16", "weights_zero", -100.0),
        ("torchao_int8_codes_off", "float16", "weights_zero", 100.0),
        ("ct_int4_zero_points", "float16", "weights_zero", -100.0),
    ],
)
def test_what_is_read_wrongly_in_all_weights_is_named_with_its_size(
    fault: str, dtype: str, dial: str, size: float, cache: Path
) -> None:
    seeded = find(fault)
    pytest.importorskip(NEEDS.get(fault.partition("_")[0], "torch"))
    architecture = ARCHITECTURES["gpt_oss" if fault.startswith("mxfp4") else "llama"]
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=seeded)
    (comparison,) = bench.run(seeded.cell(architecture, dtype)).comparisons
    named = cause(comparison.readings)
    assert named is not None
    assert named.dial == dial
    assert named.explains > 0.9
    assert abs(named.value - size) < max(3 * named.bar, 0.01 * abs(size))


def test_neighbours_in_each_others_place_are_named(cache: Path) -> None:
    """As where the high half of a byte is read first, in all weights."""
    pytest.importorskip("optimum.quanto")

    def spoil(model: torch.nn.Module, cell: object) -> None:
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if hasattr(weight, "qtype"):
                codes = weight._data
                codes.copy_(codes.unflatten(-1, (-1, 2)).flip(-1).flatten(-2).clone())

    honest = find("quanto_int8_codes_off")
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache)
    bench.fault = type(honest)("exchanged", "", honest.suits, quantisation="quanto_int8", loaded=spoil)
    (comparison,) = bench.run(parse_cell("llama-bfloat16-sdpa-quanto_int8-left-prefill")).comparisons
    named = cause(comparison.readings)
    assert named is not None
    assert named.dial == "weights_order"
    assert named.value == pytest.approx(100, abs=max(3 * named.bar, 1))


def test_of_unquantised_weights_there_are_none(cache: Path) -> None:
    own = references("llama-bfloat16-sdpa-prefill", cache)
    assert dials_of_weights(own, own.model(True)) == []


def test_what_was_left_as_it_is_is_not_turned(cache: Path) -> None:
    pytest.importorskip("bitsandbytes")
    own = references("llama-bfloat16-sdpa-nf4-left-prefill", cache)
    model = own.model(True)
    before = {name: one.data.clone() for name, one in model.named_parameters()}
    scale, *_ = dials_of_weights(own, model)
    with scale.turning(model, 100.0):
        turned = {name for name, one in model.named_parameters() if not one.equal(before[name])}
        assert all(one.equal(before[name] * (2 if name in turned else 1)) for name, one in model.named_parameters())
    assert turned
    assert all(name.endswith("_proj.weight") for name in turned), "neither norms nor embeddings nor the head"
    assert all(one.equal(before[name]) for name, one in model.named_parameters())


def test_steps_are_of_each_run_and_of_none_where_they_are_not_equal() -> None:
    codes = torch.arange(64.0).remainder(16).reshape(2, 32)
    scales = torch.tensor([[0.5], [2.0]])
    assert steps(codes * scales - 3).equal(scales.expand(2, 32))
    in_a_row = torch.tensor([[0.0, 250.0, 101.0, 100.0] + [0.0, 2.0, 5.0, 9.0] * 15])
    assert steps(in_a_row * 0.25).equal(torch.full((1, 64), 0.25)), "the second half alone has no two neighbours"
    floats = torch.tensor([0.0, 0.1, 0.27, 0.5, 0.61, 0.9, 1.0, -0.3]).repeat(4)[None]
    assert not steps(floats).any()
    assert not steps(torch.ones(2, 32)).any(), "of one code nobody can tell"
