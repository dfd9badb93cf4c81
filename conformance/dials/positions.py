"""Dials of positions: rotary ones, learned ones, and biases that grow with distance."""

import contextlib
import sys
from collections.abc import Iterator

import torch

from conformance.dials.catalogue import (
    Dial,
    Model,
    Turned,
    add,
    answered,
    attention_dial,
    call_dial,
    parts,
    precisely,
)
from conformance.faults.catalogue import Attend
from conformance.spellings import text_config

_OF_BIAS = (-100.0, -50.0, 50.0, 100.0)
_LEARNED = ("wpe", "embed_positions", "position_embeddings")


def frequencies(model: Model) -> torch.Tensor | None:
    """The angles by which a rotary model turns one token further, of shape (rotated dims / 2,), or None.

    CodeGen holds the sines and cosines of all positions instead: those of the first say the same.
    """
    for module in model.modules():
        found = getattr(module, "inv_freq", None)
        if isinstance(found, torch.Tensor):
            return found
        table = getattr(module, "embed_positions", None)
        if isinstance(table, torch.Tensor) and table.ndim == 2:
            sine, cosine = table[1].chunk(2)
            return torch.atan2(sine, cosine)
    return None


def _rotated(model: Model) -> Turned:
    """Keys are that many tokens further on than they are."""
    turn = frequencies(model)
    assert turn is not None
    interleaved = hasattr(sys.modules[type(model).__module__], "rotate_every_two")

    @precisely
    def answer(call: Attend, by: float) -> torch.Tensor:
        angles = (turn.to(call.key) * by).repeat_interleave(2) if interleaved else (turn.to(call.key) * by).repeat(2)
        rotated, rest = call.key[..., : len(angles)], call.key[..., len(angles) :]
        if interleaved:
            across = torch.stack([-rotated[..., 1::2], rotated[..., ::2]], -1).flatten(-2)
        else:
            first, second = rotated.chunk(2, -1)
            across = torch.cat([-second, first], -1)
        return call(key=torch.cat([rotated * angles.cos() + across * angles.sin(), rest], -1))

    return answer


call_dial("rotation", 0.01, (-1.0, -0.3, 0.3, 1.0), lambda model: frequencies(model) is not None, _rotated)


@precisely
def _bias(call: Attend, by: float) -> torch.Tensor:
    """What is added to the scores besides masks is larger by so many per cent."""
    return call(bias=call.bias + call.bias.masked_fill(call.masked, 0) * (by / 100))


def _has_alibi(model: Model) -> bool:
    return bool(getattr(text_config(model.config), "alibi", False))


def _has_relative_bias(model: Model) -> bool:
    return bool(parts(model, "relative_attention_bias"))


attention_dial("alibi", step=1.0, suits=_has_alibi, marks=_OF_BIAS)(_bias)
attention_dial("relative_bias", step=1.0, suits=_has_relative_bias, marks=_OF_BIAS)(_bias)


@contextlib.contextmanager
def _blended(model: Model, by: float) -> Iterator[None]:
    """While entered, each learned position is blended with the next one: so many tokens further on."""
    tables = _tables(model)
    usual = [table.weight.data for table in tables]
    for table, weight in zip(tables, usual, strict=True):
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        table.weight.data = (wide + by * (torch.cat([wide[1:], wide[-1:]]) - wide)).to(weight.dtype)
    try:
        with answered(model):
            yield
    finally:
        for table, weight in zip(tables, usual, strict=True):
            table.weight.data = weight


def _tables(model: Model) -> list[torch.nn.Embedding]:
    return [table for table in parts(model, *_LEARNED) if isinstance(table, torch.nn.Embedding)]


add(Dial("learned", 0.01, (-1.0, -0.3, 0.3, 1.0), lambda model: bool(_tables(model)), _blended))
