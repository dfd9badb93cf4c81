"""Dials of models whose attention is code of their own: no call is answered for them, but what they project is turned.

A query that is larger by 1 % has scores, biases apart, that are; a value that is larger by 1 % is handed out so. These
explain only: nobody has looked at what honest kernels of such classes read.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch

from conformance.dials.attention import several_heads
from conformance.dials.catalogue import DIALS, Dial, Model, parts
from conformance.spellings import text_config

_QUERIES = ("q", "q_proj", "query", "q_lin")
_VALUES = ("v", "v_proj", "value", "v_lin")
_NORMS = ("q_norm", "query_norm", "q_layernorm", "query_layernorm")  # after which nothing is left of a query's size

Projected = Callable[[torch.Tensor, Model, float], torch.Tensor]


def _projects(model: Model) -> bool:
    """Whether its queries and values can be turned: heads of tokens, each projection by itself."""
    queries, values = (parts(model, *names) for names in (_QUERIES, _VALUES))
    of_tokens = all(isinstance(part, torch.nn.Linear) for part in (*queries, *values))
    return 0 < len(queries) == len(values) and of_tokens and not parts(model, *_NORMS)


def _projects_heads(model: Model) -> bool:
    return _projects(model) and several_heads(model)


@contextlib.contextmanager
def _projected(names: tuple[str, ...], turned: Projected, model: Model, by: float) -> Iterator[None]:
    """While entered, what modules of those names hand out is turned by so much."""

    def turn(module: torch.nn.Module, given: Any, made: torch.Tensor) -> torch.Tensor:
        return turned(made.to(torch.promote_types(made.dtype, torch.float32)), model, by).to(made.dtype)

    hooks = [module.register_forward_hook(turn) for module in parts(model, *names)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _larger(made: torch.Tensor, model: Model, by: float) -> torch.Tensor:
    return made * (1 + by / 100)


def _first_head_larger(made: torch.Tensor, model: Model, by: float) -> torch.Tensor:
    heads = made.unflatten(-1, (text_config(model.config).num_attention_heads, -1)).clone()
    heads[..., 0, :] *= 1 + by / 100
    return heads.flatten(-2)


@contextlib.contextmanager
def _sinks_lose(model: Model, by: float) -> Iterator[None]:
    """While entered, what the sinks take of each token's attention has so many per cent less of its weight."""
    sinks = _sinks(model)
    usual = [one.data for one in sinks]
    lost = math.log(1 - by / 100) if by < 100 else torch.finfo(torch.float32).min
    for one in sinks:
        one.data = one.data + max(lost, torch.finfo(one.dtype).min)
    try:
        yield
    finally:
        for one, data in zip(sinks, usual, strict=True):
            one.data = data


def _sinks(model: Model) -> list[torch.nn.Parameter]:
    return [one for name, one in model.named_parameters() if name.endswith(".sinks")]


def _of_projections(name: str, suits: Callable[[Model], bool], names: tuple[str, ...], turned: Projected) -> Dial:
    turning: Callable[[Model, float], AbstractContextManager[None]] = partial(_projected, names, turned)
    return Dial(name, DIALS[name].step, DIALS[name].marks, suits, turning, explains_only=True)


PROJECTED = {
    dial.name: dial
    for dial in (
        _of_projections("scale", _projects, _QUERIES, _larger),
        _of_projections("head_scale", _projects_heads, _QUERIES, _first_head_larger),
        _of_projections("values", _projects, _VALUES, _larger),
        Dial("sinks", 1.0, (10.0, 100.0), lambda model: bool(_sinks(model)), _sinks_lose, True),
    )
}
