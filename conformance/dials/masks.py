"""Dials of what is looked at: leaks by weight and losses of weight, as logarithms of weights on the bias."""

import math

import torch

from conformance.dials.catalogue import Model, attention_dial, precisely
from conformance.dials.golden import AT_ONCE
from conformance.faults.catalogue import Attend
from conformance.spellings import text_config

_SHARES = (1.0, 10.0, 100.0)
_FEW = 4  # rows, which may see each other however long they are


def causal(model: Model) -> bool:
    """Whether some of its attention sees the past alone."""
    config = model.config
    return bool(config.is_encoder_decoder or type(model).__name__.endswith(("ForCausalLM", "LMHeadModel")))


def windowed(model: Model) -> bool:
    """Whether some of its attention sees the last few keys alone, or those of its own chunk."""
    config = text_config(model.config)
    return any(getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))


def tells_documents_apart(model: Model) -> bool:
    """Whether it can be given several documents in one row, and does not count through them.

    A chunk begins at a place of the row, and a slope goes on from one document to the next.
    """
    config = text_config(model.config)
    counts = getattr(config, "attention_chunk_size", None) or getattr(config, "alibi", False)
    return causal(model) and not model.config.is_encoder_decoder and not counts


@attention_dial("next_token", step=0.05, marks=_SHARES, suits=causal)
@precisely
def next_token(call: Attend, by: float) -> torch.Tensor:
    """Each token sees the next one with so many per cent of its weight."""
    return _leaks(call, _diagonal(call, 1) & ~_padding(call), by)


@attention_dial("padding", step=0.01, marks=_SHARES)
@precisely
def padding(call: Attend, by: float) -> torch.Tensor:
    """Tokens see padding with so many per cent of its weight."""
    return _leaks(call, _padding(call).expand_as(call.masked), by)


@attention_dial("window_beyond", step=0.1, marks=_SHARES, suits=windowed)
@precisely
def window_beyond(call: Attend, by: float) -> torch.Tensor:
    """Tokens see the first key beyond the window with so many per cent of its weight."""
    beyond = call.past & ~_padding(call)
    beyond[..., :-1] &= ~call.masked[..., 1:]
    beyond[..., -1] = False
    return _leaks(call, beyond, by)


@attention_dial("window", step=0.01, marks=_SHARES, suits=windowed, explains_only=True)
@precisely
def window(call: Attend, by: float) -> torch.Tensor:
    """Tokens see all keys beyond the window with so many per cent of their weight."""
    return _leaks(call, call.past & ~_padding(call), by)


@attention_dial("window_inside", step=1.0, suits=windowed)
@precisely
def window_inside(call: Attend, by: float) -> torch.Tensor:
    """The last key inside the window lacks so many per cent of its weight."""
    inside = call.past.expand_as(call.masked).clone()
    inside[..., 1:] &= (call.masked & ~_padding(call))[..., :-1]
    inside[..., 0] = False
    return _loses(call, inside, by)


@attention_dial("first_token", step=1.0)
@precisely
def first_token(call: Attend, by: float) -> torch.Tensor:
    """The first token of each row lacks so many per cent of its weight."""
    real = ~_padding(call)
    return _loses(call, (real & (real.cumsum(-1) == 1)).expand_as(call.masked), by)


@attention_dial("middle_key", step=1.0)
@precisely
def middle_key(call: Attend, by: float) -> torch.Tensor:
    """The key in the middle of the batch lacks so many per cent of its weight."""
    keys = torch.arange(call.key.shape[-2], device=call.key.device)
    return _loses(call, (keys == len(keys) // 2).expand_as(call.masked), by)


@attention_dial("documents", step=0.1, marks=_SHARES, suits=tells_documents_apart, explains_only=True)
@precisely
def documents(call: Attend, by: float) -> torch.Tensor:
    """Tokens see what is in the rows before theirs with so many per cent of its weight, as if all stood in one row.

    Of many long rows it is not turned: each would have scores with all tokens of all others.
    """
    rows, _, length, _ = call.key.shape
    scores = call.query[..., 0].numel() * rows * length
    if by <= 0 or not call.is_self_attention or (rows > _FEW and scores > AT_ONCE):
        return call()
    real = ~_padding(call)[:, :1, 0].expand(rows, 1, length).reshape(rows * length)
    place = real.cumsum(-1)
    apart = place.reshape(rows, length, 1) - place
    row = torch.arange(rows, device=place.device).repeat_interleave(length)
    before = (row.reshape(rows, length, 1) > row) & real & (apart < _reach(call))
    lowest = torch.finfo(call.bias.dtype).min
    seen = torch.full_like(before, lowest, dtype=call.bias.dtype).masked_fill(before, math.log(by / 100))
    bias = seen[:, None].repeat(1, call.bias.shape[1], 1, 1)
    for number in range(rows):
        bias[number, ..., number * length : (number + 1) * length] = call.bias[number % len(call.bias)]
    key, value = (one.transpose(0, 1).flatten(1, 2).expand(rows, -1, -1, -1) for one in (call.key, call.value))
    return call(key=key, value=value, bias=bias)


def _reach(call: Attend) -> float:
    """How far back a token sees, in tokens: a window is told from rows that are longer."""
    seen = int((~call.masked & ~_open(call)).sum(-1).max())
    return seen if bool((call.masked & call.past & ~_padding(call)).any()) else math.inf


def _leaks(call: Attend, where: torch.Tensor, by: float) -> torch.Tensor:
    """What is masked there is seen with so many per cent of its weight.

    Queries of padding, which see nothing else, see it with all of it: whatever they see matters only through the leak.
    """
    if by <= 0:
        return call()
    blind = call.masked.all(-1, keepdim=True)
    leaking = where & call.masked
    return call(bias=call.bias.masked_fill(leaking, math.log(by / 100)).masked_fill(leaking & blind, 0.0))


def _loses(call: Attend, where: torch.Tensor, by: float) -> torch.Tensor:
    """What is seen there is seen with so many per cent of its weight less."""
    kept = 1 - by / 100
    lowest = torch.finfo(call.bias.dtype).min
    changed = call.bias + math.log(kept) if kept > 0 else torch.full_like(call.bias, lowest)
    return call(bias=torch.where(where & ~call.masked, changed, call.bias))


def _padding(call: Attend) -> torch.Tensor:
    """Keys that nobody may look at, of shape (batch or 1, heads or 1, 1, keys)."""
    return (call.masked | _open(call)).all(-2, keepdim=True)


def _open(call: Attend) -> torch.Tensor:
    """Queries of padding that see everything, of shape (batch or 1, heads or 1, queries, 1).

    Transformers 4.x lets what would see nothing do so, of a GPU's SDPA. Another query of such a row has keys masked.
    The last token of a row may see all of it, but for it the one before does not.
    """
    masked = call.masked
    found = ~masked.any(-1, keepdim=True) & masked.flatten(-2).any(-1)[..., None, None]
    found[..., -1:, :] &= found[..., -2:-1, :] if found.shape[-2] > 1 else False
    return found


def _diagonal(call: Attend, ahead: int) -> torch.Tensor:
    """The key so many tokens ahead of each query, of shape (queries, keys)."""
    queries, keys = call.query.shape[-2], call.key.shape[-2]
    whole = torch.ones(queries, keys, dtype=torch.bool, device=call.query.device)
    at = keys - queries + ahead
    return whole.tril(at) & whole.triu(at)
