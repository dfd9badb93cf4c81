"""Faults that only generation with a cache can show."""

import contextlib
import inspect
from collections.abc import Callable, Iterator

import torch
import transformers

from conformance.faults.catalogue import Attend, Fault, Model, add, attention_fault, is_causal, named

GENERATE = "generate"


@attention_fault("stale_cache_slot", "the newest cache slot written one step late", is_causal, GENERATE)
def stale_cache_slot(call: Attend) -> torch.Tensor:
    """The key/value before the last is that of the position before it."""
    if not call.decodes or call.key.shape[-2] < 3:
        return call()
    key, value = call.key.clone(), call.value.clone()
    key[..., -2, :], value[..., -2, :] = call.key[..., -3, :], call.value[..., -3, :]
    return call(key=key, value=value)


@attention_fault("unfilled_slots_attended", "transformers#46914, #30414: zeros of a static cache", is_causal, GENERATE)
def unfilled_slots_attended(call: Attend) -> torch.Tensor:
    """Sixteen empty slots are looked at."""
    if not call.decodes:
        return call()
    empty = torch.zeros_like(call.key[..., :1, :]).expand(-1, -1, 16, -1)
    bias = torch.cat([call.bias, torch.zeros_like(call.bias[..., :1]).expand(-1, -1, -1, 16)], -1)
    return call(key=torch.cat([call.key, empty], -2), value=torch.cat([call.value, empty], -2), bias=bias)


@attention_fault("cache_rows_reordered", "a cache reordered for beams that are not there", is_causal, GENERATE)
def cache_rows_reordered(call: Attend) -> torch.Tensor:
    """Each row looks at its neighbour's cache."""
    return call(key=call.key.roll(1, 0), value=call.value.roll(1, 0)) if call.decodes else call()


@attention_fault("padding_forgotten_in_decoding", "the mask not extended while decoding", is_causal, GENERATE)
def padding_forgotten_in_decoding(call: Attend) -> torch.Tensor:
    """Decoding steps see the padding."""
    return call(bias=call.with_mask(torch.zeros_like(call.masked))) if call.decodes else call()


@contextlib.contextmanager
def _positions_shifted(model: Model) -> Iterator[None]:
    usual = model.forward

    def shifted(*args: object, position_ids: torch.Tensor | None = None, **kwargs: object) -> object:
        if position_ids is not None and position_ids.shape[-1] == 1:
            position_ids = position_ids + 1
        return usual(*args, position_ids=position_ids, **kwargs)

    shifted.__signature__ = inspect.signature(usual)  # type: ignore[attr-defined] # generate asks what forward takes
    model.forward = shifted
    try:
        yield
    finally:
        model.forward = usual


add(
    Fault(
        "decode_position_off_by_one",
        "positions of decoding steps counted from the wrong end of the padding",
        named("llama", "mistral", "gpt2", "falcon", "opt"),
        GENERATE,
        running=_positions_shifted,
    )
)


def _cache_method(name: str, wrong: Callable[..., None]) -> Callable[[Model], contextlib.AbstractContextManager[None]]:
    """While entered, that method of every cache is `wrong`, which is given the right one first."""

    @contextlib.contextmanager
    def running(model: Model) -> Iterator[None]:
        usual = getattr(transformers.Cache, name)
        setattr(transformers.Cache, name, lambda cache, *given: wrong(usual, cache, *given))
        try:
            yield
        finally:
            setattr(transformers.Cache, name, usual)

    return running


def _repeated_in_turn(usual: Callable[..., None], cache: Model, repeats: int) -> None:
    """Rows 0, 1, 0, 1 instead of 0, 0, 1, 1."""
    usual(cache, repeats)
    rows = len(cache.layers[0].keys)
    cache.reorder_cache(torch.arange(rows).view(-1, repeats).t().flatten())


for _name, _stands_for, _workload, _method, _wrong in (
    ("reset_does_nothing", "a reset that leaves the old keys", "cache_reset", "reset", lambda usual, cache: None),
    (
        "crop_one_short",
        "a crop that leaves a token of the other text behind",
        "cache_crop",
        "crop",
        lambda usual, cache, dropped: usual(cache, dropped + 1),
    ),
    (
        "prefix_repeated_in_turn",
        "repeat for repeat_interleave",
        "cache_repeat",
        "batch_repeat_interleave",
        _repeated_in_turn,
    ),
):
    add(Fault(_name, _stands_for, named("llama", "gpt2", "falcon"), _workload, running=_cache_method(_method, _wrong)))
