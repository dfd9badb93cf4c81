"""Dials of the call itself: scales, gains, heads."""

import torch

from conformance.dials.catalogue import Model, attention_dial, precisely, softcap_of
from conformance.faults.catalogue import Attend
from conformance.spellings import text_config


def grouped(model: Model) -> bool:
    """Whether several query heads share each of several key/value heads."""
    config = text_config(model.config)
    shared = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 1 < shared < config.num_attention_heads


def several_heads(model: Model) -> bool:
    """Whether one head is not all there is."""
    return bool(text_config(model.config).num_attention_heads > 1)


@attention_dial("scale", step=1.0, marks=(-50.0, -10.0, 10.0, 50.0, 100.0, 300.0))
def scale(call: Attend, by: float) -> torch.Tensor:
    """The softmax scale is off by so many per cent."""
    return call(scale=call.scale * (1 + by / 100))


@attention_dial("head_scale", step=1.0, suits=several_heads, marks=(-50.0, 50.0, 300.0))
@precisely
def head_scale(call: Attend, by: float) -> torch.Tensor:
    """That of the first head alone."""
    return call(query=call.query * _of_head_0(call, by))


@attention_dial("head_gain", step=1.0, suits=several_heads, marks=(-100.0, 100.0))
@precisely
def head_gain(call: Attend, by: float) -> torch.Tensor:
    """What the first head hands out is larger by so many per cent."""
    return call() * _of_head_0(call, by)


@attention_dial("values", step=1.0, marks=(-100.0, -10.0, 10.0, 100.0))
@precisely
def values(call: Attend, by: float) -> torch.Tensor:
    """What every head hands out is."""
    return call() * (1 + by / 100)


def capped(model: Model) -> bool:
    """Whether its scores are capped."""
    return bool(softcap_of(model))


@attention_dial("softcap", step=1.0, suits=capped, marks=(10.0, 100.0), explains_only=True)
@precisely
def softcap(call: Attend, by: float) -> torch.Tensor:
    """The soft cap of scores is lost by so many per cent."""
    return call(uncapped=by / 100)


@attention_dial("kv_heads", step=1.0, suits=grouped)
@precisely
def kv_heads(call: Attend, by: float) -> torch.Tensor:
    """So many per cent of keys and values are those of heads that are tiled instead of repeated in groups."""
    heads = call.key.shape[1]
    tiled = torch.arange(0, heads, call.groups, device=call.key.device).repeat(call.groups)
    share = by / 100
    key, value = (one + share * (one[:, tiled] - one) for one in (call.key, call.value))
    return call(key=key, value=value)


def _of_head_0(call: Attend, by: float) -> torch.Tensor:
    gain = torch.ones(1, call.query.shape[1], 1, 1, dtype=call.query.dtype, device=call.query.device)
    gain[:, 0] += by / 100
    return gain
