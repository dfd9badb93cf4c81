"""Dials of quantised weights: they move what the quantiser made, and name what a reader of it got wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conformance.bench import Bench
from conformance.dials.golden import Golden, Turn
from conformance.dials.weights import dials_of_weights, steps
from conformance.faults import Fault, find
from conformance.judging.shared import Kept, SharedReferences
from conformance.models.fixtures import fixture, formats_folder
from conformance.models.loading import Source
from matrix.cell import parse_cell
from matrix.dials import Reading, cause
from matrix.stack import Device
from tests.builders import ARCHITECTURES

NEEDS = {"ct": "compressed_tensors", "quanto": "optimum.quanto", "torchao": "torchao"}


def references(cell: str, cache: Path) -> SharedReferences:
    parsed = parse_cell(cell)
    architecture = ARCHITECTURES[parsed.architecture]
    source = Source(architecture, str(fixture(architecture, cache)), formats=str(formats_folder(cache)))
    return SharedReferences(parsed, source, torch.device("cpu"), Kept())


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


def planted(cell: str, change: Callable[[torch.Tensor], torch.Tensor], cache: Path) -> Reading | None:
    """What the error of a cell is laid to, of whose codes this is made when it is loaded."""

    def spoil(model: torch.nn.Module, cell: object) -> None:
        for module in model.modules():
            if hasattr(getattr(module, "weight", None), "qtype"):
                module.weight._data.copy_(change(module.weight._data))

    fault = Fault("planted", "", lambda architecture: True, quantisation="quanto_int8", loaded=spoil)
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault)
    (comparison,) = bench.run(parse_cell(cell)).comparisons
    return cause(comparison.readings)


def test_neighbours_in_each_others_place_are_named(cache: Path) -> None:
    """As where the high half of a byte is read first, in all weights."""
    pytest.importorskip("optimum.quanto")
    named = planted("llama-bfloat16-sdpa-quanto_int8-left-prefill", exchanged, cache)
    assert named is not None
    assert named.dial == "weights_order"
    assert named.value == pytest.approx(100, abs=max(3 * named.bar, 1))


@pytest.mark.parametrize("codes", [-2, 4])
def test_a_zero_point_may_be_off_by_several_codes_either_way(codes: int, cache: Path) -> None:
    pytest.importorskip("optimum.quanto")

    def moved(held: torch.Tensor) -> torch.Tensor:
        return (held.int() + codes).clamp(-128, 127).to(held.dtype)

    named = planted("llama-bfloat16-sdpa-quanto_int8-left-prefill", moved, cache)
    assert named is not None
    assert named.dial == "weights_zero"
    assert named.value == pytest.approx(100 * codes, rel=0.02)


def exchanged(codes: torch.Tensor) -> torch.Tensor:
    return codes.unflatten(-1, (-1, 2)).flip(-1).flatten(-2).clone()


@pytest.mark.parametrize(
    ("cell", "name", "needs"),
    [
        ("gpt_oss-bfloat16-eager-mxfp4-left-prefill", "model.layers.0.mlp.experts.down_proj", "torch"),
        ("gpt2-bfloat16-sdpa-nf4-left-prefill", "transformer.h.0.mlp.c_fc.weight", "bitsandbytes"),
    ],
)
def test_of_weights_that_are_held_by_input_it_is_the_inputs_that_are_neighbours(
    cell: str, name: str, needs: str, cache: Path
) -> None:
    pytest.importorskip(needs)
    own = references(cell, cache)
    model = own.model(True)
    *_, order = dials_of_weights(own, model)
    before = model.get_parameter(name).data.clone()
    with order.turning(model, 100.0):
        assert model.get_parameter(name).equal(exchanged(before.mT).mT)


def test_what_is_loaded_to_turn_weights_is_what_others_load(cache: Path) -> None:
    """Golden of a float32 cell runs in float64, in which frequencies would be others."""
    plain, quantised = (f"llama-float32-sdpa-{format_}left-prefill" for format_ in ("", "nf4-"))
    pytest.importorskip("bitsandbytes")
    own = references(quantised, cache)
    model = own.model(True)
    scale, *_ = dials_of_weights(own, model)
    tokens = torch.arange(48).reshape(2, 24)
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    next(Golden(model, batch, "float32").turned([Turn(scale, 1.0)]))
    loaded, alone = (
        dict(one.model(True).named_buffers()) for one in (own.of_plain_weights(), references(plain, cache))
    )
    assert loaded.keys() == alone.keys()
    assert all(one.equal(alone[name]) for name, one in loaded.items())


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
    in_a_row = torch.tensor([[0.0, 250.0, 249.0, 100.0] + [0.0, 2.0, 5.0, 9.0] * 15])
    assert steps(in_a_row * 0.25).equal(torch.full((1, 64), 0.25)), "the second half alone has no two neighbours"
    floats = torch.tensor([0.0, 0.1, 0.27, 0.5, 0.61, 0.9, 1.0, -0.3]).repeat(4)[None]
    assert not steps(floats).any()
    assert not steps(torch.ones(2, 32)).any(), "of one code nobody can tell"
    e2m1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    assert not steps(torch.cat([e2m1, -e2m1]).repeat(2)[None]).any(), "the large ones are no neighbours"
