"""Faults of weights that torchao and quanto hold, and of activations that are quantised to meet them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from conformance.faults.catalogue import Fault, Model, add, named
from conformance.rooms import stored_as
from matrix.cell import Cell

# GPT-2 is made of Conv1D and Falcon multiplies by weight.T, which torchao leaves alone or cannot run; a fixture of a
# mixture has rows of zeros, which float8 makes NaN.
_WHOLE = named("bert", "llama", "mistral", "opt", "roberta", "t5")
# What LayerNorm hands on sums to nothing, and a code more in all of a row adds that sum: one of 255 is not to be seen.
_RMS_NORM = named("llama", "mistral", "t5")


def _weights(model: Model) -> Iterator[Any]:
    for module in model.modules():
        if stored_as(module):
            yield module.weight


def _scale(weight: Any) -> torch.Tensor:
    scale: torch.Tensor = weight.scale if hasattr(weight, "scale") else weight._scale
    return scale


def one_scale_doubled(model: Model, cell: Cell) -> None:
    """One block of every weight, that of the largest values, has twice its scale."""
    for scale in map(_scale, _weights(model)):
        scale.view(-1)[scale.abs().argmax()] *= 2


def row_scales_rolled(model: Model, cell: Cell) -> None:
    """The scales of one weight belong to the rows before."""
    scale = _scale(next(_weights(model)))
    scale.copy_(scale.roll(1, 0))


def group_scales_transposed(model: Model, cell: Cell) -> None:
    """The scales of one weight, by row and group, are read by group and row."""
    scale = next(scale for scale in map(_scale, _weights(model)) if min(scale.shape) > 1)
    scale.copy_(scale.T.reshape(scale.shape).clone())


def zero_point_off(model: Model, cell: Cell) -> None:
    """Every zero point is off by one."""
    for weight in _weights(model):
        weight.zero_point.add_(1)


def codes_off(model: Model, cell: Cell) -> None:
    """All codes are one too high, as where zero points are forgotten."""
    for codes in map(_codes, _weights(model)):
        codes.copy_((codes.int() + 1).clamp(-128, 127).to(codes.dtype))


def shift_off(model: Model, cell: Cell) -> None:
    """Every shift is off by one code."""
    for weight in _weights(model):
        weight._shift.add_(weight._scale)


def read_as_e5m2(model: Model, cell: Cell) -> None:
    """The codes of one weight are e5m2 read as e4m3: half the exponent, twice the mantissa."""
    codes = _codes(next(_weights(model)))
    codes.copy_(codes.float().to(torch.float8_e5m2).view(torch.uint8).view(torch.float8_e4m3fn))


def nibbles_exchanged(model: Model, cell: Cell) -> None:
    """The two codes of each byte of one weight stand in the other order."""
    codes = next(_weights(model))._data._data
    codes.copy_((codes << 4) | (codes >> 4))


def _codes(weight: Any) -> torch.Tensor:
    codes: torch.Tensor = weight.qdata if hasattr(weight, "qdata") else weight._data
    return codes


@contextlib.contextmanager
def _activations_clipped(model: Model) -> Iterator[None]:
    """The largest activations of each token are cut to 0.8 of themselves, as by a step that is too small."""

    def clip(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        limit = 0.8 * args[0].abs().amax(-1, keepdim=True)
        return (args[0].clamp(-limit, limit), *args[1:])

    hooks = [module.register_forward_pre_hook(clip) for module in model.modules() if stored_as(module)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


Loaded = Callable[[Model, Cell], None]
_ROWS: tuple[tuple[str, Loaded], ...] = (("scale_doubled", one_scale_doubled), ("scales_rolled", row_scales_rolled))
_BY_FORMAT: dict[str, tuple[tuple[str, Loaded], ...]] = {
    "torchao_int8": (*_ROWS, ("codes_off", codes_off)),
    "torchao_int8_dynamic": (*_ROWS, ("codes_off", codes_off)),
    "torchao_float8": (*_ROWS, ("read_as_e5m2", read_as_e5m2)),
    "torchao_intx4": (
        *_ROWS,
        ("scales_transposed", group_scales_transposed),
        ("zero_point_off", zero_point_off),
        ("codes_off", codes_off),
    ),
    "quanto_int8": (*_ROWS, ("codes_off", codes_off)),
    "quanto_float8": (*_ROWS, ("read_as_e5m2", read_as_e5m2)),
    "quanto_int4": (*_ROWS, ("shift_off", shift_off), ("nibbles_exchanged", nibbles_exchanged)),
}
_STANDS_FOR = {
    "scale_doubled": "the scale of one block wrong",
    "scales_rolled": "bitsandbytes#1391: scales of other rows",
    "scales_transposed": "bitsandbytes on a CPU: block scales saved in the other order",
    "codes_off": "a zero point forgotten",
    "zero_point_off": "a zero point off by one",
    "shift_off": "a zero point off by one, in the units of the weight",
    "read_as_e5m2": "another float8 than the checkpoint's",
    "nibbles_exchanged": "the nibbles of a byte in the other order",
}
for _quantisation, _faults in _BY_FORMAT.items():
    for _name, _loaded in _faults:
        _suits = _RMS_NORM if _loaded is codes_off else _WHOLE
        _full = f"{_quantisation}_{_name}"
        add(Fault(_full, _STANDS_FOR[_name], _suits, quantisation=_quantisation, loaded=_loaded))
add(
    Fault(
        "torchao_int8_dynamic_clipped",
        "activations quantised with too small a step",
        _WHOLE,
        quantisation="torchao_int8_dynamic",
        running=_activations_clipped,
    )
)
