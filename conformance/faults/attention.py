"""Faults inside attention: scale, mask, heads, positions, precision."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from conformance.faults.catalogue import (
    Attend,
    Fault,
    Model,
    add,
    attention_fault,
    having,
    is_causal,
    is_decoder,
    named,
)
from matrix.axes import Attention, Dtype
from matrix.cell import Cell

GROUPED = having("gqa", "llama", "mistral")
ROTARY = named("llama", "mistral", "falcon")


def wrong_scale(percent: float) -> Callable[[Attend], torch.Tensor]:
    """Attention whose softmax scale is off by so many per cent."""
    return lambda call: call(scale=call.scale * (1 + percent / 100))


for _percent in (1, 2, 5, 10):
    attention_fault(f"scale_{_percent}_percent", "a softmax scale computed from the wrong head size or rounded")(
        wrong_scale(_percent)
    )


@attention_fault("scale_missing", "a kernel called without its scale", lambda a: a.name not in ("t5", "opt"))
def scale_missing(call: Attend) -> torch.Tensor:
    """Scale 1 instead of 1/sqrt(head_dim)."""
    return call(scale=1.0)


@attention_fault("causal_dropped", "transformers#41966, #29067: causal dropped when a mask is given", is_causal)
def causal_dropped(call: Attend) -> torch.Tensor:
    """Only the padding is left of the mask."""
    if not call.is_self_attention:
        return call()
    return call(bias=call.with_mask(call.masked.all(-2, keepdim=True).expand_as(call.masked)))


@attention_fault("causal_off_by_one", "a causal mask aligned one position too far", is_causal)
def causal_off_by_one(call: Attend) -> torch.Tensor:
    """Each position sees the next one."""
    if not call.is_self_attention or not call.masked[..., 0, -1].any():
        return call()
    masked = call.masked.clone()
    masked[..., :-1, :] &= call.masked[..., 1:, :]
    return call(bias=call.with_mask(masked))


@attention_fault("padding_ignored", "transformers#29075: the padding mask never reaches the kernel")
def padding_ignored(call: Attend) -> torch.Tensor:
    """Padding is attended to."""
    if not call.is_self_attention:
        return call()
    return call(bias=call.with_mask(call.masked & ~call.masked.all(-2, keepdim=True)))


@attention_fault("left_read_as_right", "left padding taken for right padding")
def left_read_as_right(call: Attend) -> torch.Tensor:
    """The padding is masked on the other side."""
    padding = call.masked.all(-2, keepdim=True)
    return call(bias=call.with_mask((call.masked & ~padding) | padding.flip(-1)))


@attention_fault("one_key_dropped", "an off-by-one in the key loop of a kernel")
def one_key_dropped(call: Attend) -> torch.Tensor:
    """The key in the middle is not looked at."""
    masked = call.masked.clone()
    masked[..., masked.shape[-1] // 2] = True
    return call(bias=call.with_mask(masked))


@attention_fault(
    "window_off_by_one", "transformers#39408, #40163: sliding window one too wide", having("window", "mistral")
)
def window_off_by_one(call: Attend) -> torch.Tensor:
    """The window reaches one key further back."""
    masked = call.masked.clone()
    masked[..., 1:, :] &= call.masked[..., :-1, :] | ~call.past[1:]
    return call(bias=call.with_mask(masked))


@attention_fault(
    "window_ignored", "transformers#28980, #36351, #35924: window not applied", having("window", "mistral")
)
def window_ignored(call: Attend) -> torch.Tensor:
    """All of the past is seen."""
    return call(bias=call.with_mask((call.masked & ~call.past) | call.masked.all(-2, keepdim=True)))


@attention_fault("window_where_none_is", "a sliding window applied to a layer that has none", is_decoder)
def window_where_none_is(call: Attend) -> torch.Tensor:
    """Only the last eight keys are seen."""
    near = torch.ones_like(call.past).triu(call.key.shape[-2] - call.query.shape[-2] - 7)
    return call(bias=call.with_mask(call.masked | ~near))


@attention_fault("heads_repeated_wrongly", "repeat where repeat_interleave is meant", GROUPED)
def heads_repeated_wrongly(call: Attend) -> torch.Tensor:
    """Key/value heads tiled instead of repeated in groups."""
    repeat = (1, call.groups, 1, 1)
    return call(key=call.key[:, :: call.groups].repeat(repeat), value=call.value[:, :: call.groups].repeat(repeat))


@attention_fault("one_kv_head_for_all", "pytorch#193893: groups beyond the first ignored", GROUPED)
def one_kv_head_for_all(call: Attend) -> torch.Tensor:
    """Every query head looks at key/value head 0."""
    return call(key=call.key[:, :1].expand_as(call.key), value=call.value[:, :1].expand_as(call.value))


@attention_fault("one_head_zeroed", "a kernel that does not write its last head")
def one_head_zeroed(call: Attend) -> torch.Tensor:
    """The last head's output is zero."""
    found = call().clone()
    found[:, -1] = 0
    return found


@attention_fault("heads_swapped", "head outputs concatenated in the wrong order")
def heads_swapped(call: Attend) -> torch.Tensor:
    """Two heads trade places."""
    order = [1, 0, *range(2, call.query.shape[1])]
    return call()[:, order]


@attention_fault("nan_in_fully_masked_rows", "pytorch#103749, #109517: a fully masked row gives NaN", is_decoder)
def nan_in_fully_masked_rows(call: Attend) -> torch.Tensor:
    """Rows with nothing to look at are NaN."""
    return call().masked_fill(call.masked.all(-1, keepdim=True), float("nan"))


@attention_fault("nan_in_padded_rows_only", "unsloth#9848: NaN for every left-padded row of the batch")
def nan_in_padded_rows_only(call: Attend) -> torch.Tensor:
    """Whole rows are NaN if any of their keys is padding."""
    padded = call.masked.all(-2).any(-1)[..., None, None]
    return call().masked_fill(padded, float("nan"))


@attention_fault("keys_in_fp8", "keys rounded to a quantised cache's format")
def keys_in_fp8(call: Attend) -> torch.Tensor:
    """Keys through float8_e4m3."""
    return call(key=call.key.to(torch.float8_e4m3fn).to(call.key.dtype))


@attention_fault("values_in_fp8", "values rounded to a quantised cache's format")
def values_in_fp8(call: Attend) -> torch.Tensor:
    """Values through float8_e4m3."""
    return call(value=call.value.to(torch.float8_e4m3fn).to(call.value.dtype))


@attention_fault(
    "probabilities_in_bfloat16",
    "scores accumulated in bfloat16, as a kernel without an fp32 accumulator",
    eager_does_it_in=(Dtype.BFLOAT16,),
)
def probabilities_in_bfloat16(call: Attend) -> torch.Tensor:
    """Scores and probabilities rounded to bfloat16 at every step."""
    bias = call.bias.float().clamp_min(torch.finfo(torch.bfloat16).min).bfloat16()
    scores = (call.query.bfloat16() @ call.key.bfloat16().transpose(-1, -2)) * call.scale + bias
    return (scores.softmax(-1) @ call.value.bfloat16()).to(call.query.dtype)


@attention_fault("dropout_left_on", "attention dropout active in eval mode")
def dropout_left_on(call: Attend) -> torch.Tensor:
    """A tenth of the output is dropped."""
    return torch.nn.functional.dropout(call(), 0.1, training=True)


@attention_fault("strides_misread", "pytorch#112577: non-contiguous queries read as if contiguous")
def strides_misread(call: Attend) -> torch.Tensor:
    """Values are read in memory order, whatever their strides say."""
    batch, heads, keys, size = call.value.shape
    memory = call.value.transpose(1, 2).reshape(batch, heads, keys, size)
    return call(value=memory)


@attention_fault("softmax_over_queries", "softmax over the wrong dimension of a transposed score matrix")
def softmax_over_queries(call: Attend) -> torch.Tensor:
    """Normalised along the queries."""
    scores = call.query @ call.key.transpose(-1, -2) * call.scale + call.bias
    return scores.softmax(-2) @ call.value


def softcap_dropped(model: Model, cell: Cell) -> None:
    """Scores are not capped."""
    for module in model.modules():
        if hasattr(module, "attn_logit_softcapping"):
            module.attn_logit_softcapping = None


add(
    Fault(
        "softcap_dropped",
        "transformers#32848: Gemma2 through a kernel that has no softcap",
        named("gemma2"),
        attention=Attention.EAGER,  # SDPA has no softcap to drop
        loaded=softcap_dropped,
    )
)


@contextlib.contextmanager
def _rotary(model: Model, change: Callable[..., tuple[Any, Any]]) -> Iterator[None]:
    module = sys.modules[type(model).__module__]
    usual = module.apply_rotary_pos_emb

    def changed(query: Any, key: Any, cos: Any, sin: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return change(usual, query, key, cos, sin)

    module.apply_rotary_pos_emb = changed  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.apply_rotary_pos_emb = usual  # type: ignore[attr-defined]


def _rotary_fault(name: str, stands_for: str, change: Callable[..., tuple[Any, Any]]) -> None:
    add(Fault(name, stands_for, ROTARY, running=lambda model: _rotary(model, change)))


_rotary_fault(
    "rope_missing_on_keys",
    "rotary embedding applied to the queries alone",
    lambda usual, query, key, cos, sin: (usual(query, key, cos, sin)[0], key),
)
_rotary_fault(
    "rope_shifted_on_queries",
    "query positions off by one against the keys'",
    lambda usual, query, key, cos, sin: (
        usual(query, key, cos.roll(1, -2), sin.roll(1, -2))[0],
        usual(query, key, cos, sin)[1],
    ),
)


def rope_wrong_base(model: Model, cell: Cell) -> None:
    """The frequencies belong to another rope_theta."""
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            module.inv_freq = module.inv_freq**1.2


add(Fault("rope_wrong_base", "rope_theta lost on the way from the config", ROTARY, loaded=rope_wrong_base))


@contextlib.contextmanager
def _alibi(model: Model, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    module = sys.modules[type(model).__module__]
    usual = module.build_alibi_tensor

    def changed(attention_mask: torch.Tensor, num_heads: int, dtype: torch.dtype) -> torch.Tensor:
        found = usual(attention_mask, num_heads, dtype)
        heads = found.view(len(attention_mask), num_heads, *found.shape[1:])
        return change(heads).reshape(found.shape)

    module.build_alibi_tensor = changed  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.build_alibi_tensor = usual  # type: ignore[attr-defined]


add(
    Fault(
        "alibi_missing",
        "transformers#29067: ALiBi not passed on",
        named("falcon_alibi"),
        running=lambda model: _alibi(model, torch.zeros_like),
    )
)
add(
    Fault(
        "alibi_slopes_reversed",
        "slopes handed to the heads in the wrong order",
        named("falcon_alibi"),
        running=lambda model: _alibi(model, lambda heads: heads.flip(1)),
    )
)
