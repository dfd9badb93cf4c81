"""Faults that neither a batch of rows nor one pass can show."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers

from conformance.faults.catalogue import Attend, Fault, Model, add, attention_fault, is_causal, is_decoder, named
from matrix.axes import Padding

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


@attention_fault(
    "packed_boundary_leaks",
    "transformers#46634: documents in one row see one another",
    named("llama", "gpt2", "falcon", "mixtral", "qwen3_moe"),
    "packed",
    Padding.NONE,
)
def packed_boundary_leaks(call: Attend) -> torch.Tensor:
    """The last token of the document before is seen, with half its weight."""
    before = call.masked & ~call.masked.roll(-1, -1) & call.past
    seen = call.with_mask(call.masked & ~before)
    return call(bias=torch.where(before, seen - math.log(2), seen))


@contextlib.contextmanager
def answering(model: Model, forward: Callable[..., object]) -> Iterator[None]:
    """While entered, the model's forward pass is this one."""
    usual = model.forward
    forward.__signature__ = inspect.signature(usual)  # type: ignore[attr-defined] # generate asks what forward takes
    model.forward = forward
    try:
        yield
    finally:
        model.forward = usual


def _told_other_positions(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[Model], contextlib.AbstractContextManager[None]]:
    """While entered, a forward pass is told positions that are changed so."""

    @contextlib.contextmanager
    def running(model: Model) -> Iterator[None]:
        usual = model.forward

        def told(*args: object, position_ids: torch.Tensor | None = None, **kwargs: object) -> object:
            return usual(*args, position_ids=None if position_ids is None else change(position_ids), **kwargs)

        with answering(model, told):
            yield

    return running


add(
    Fault(
        "decode_position_off_by_one",
        "positions of decoding steps counted from the wrong end of the padding",
        named("llama", "mistral", "gpt2", "falcon", "opt"),
        GENERATE,
        running=_told_other_positions(lambda positions: positions + int(positions.shape[-1] == 1)),
    )
)
add(
    Fault(
        "second_turn_counts_from_zero",
        "several tokens on a filled cache that are taken for the first",
        named("llama", "mistral", "gpt2", "falcon", "opt"),
        "second_turn",
        running=_told_other_positions(
            lambda positions: positions - (positions[:, :1] if positions.shape[-1] > 1 else 0)
        ),
    )
)


@contextlib.contextmanager
def _drafts_trusted(model: Model) -> Iterator[None]:
    """Of several tokens at once the most probable are those that were given: a draft is always right."""
    usual, given = model.forward, []

    class Trusting(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = super().__torch_function__(func, types, args, kwargs or {})
            if func is torch.Tensor.argmax and found.shape[-1] > 1:
                found = found.as_subclass(torch.Tensor)
                found[:, :-1] = given[-1][:, 1 - found.shape[-1] :]
            return found

    def trusting(*args: Any, **kwargs: Any) -> Any:
        output = usual(*args, **kwargs)
        given.append(kwargs.get("decoder_input_ids", kwargs.get("input_ids")))
        output.logits = output.logits.as_subclass(Trusting)
        return output

    with answering(model, trusting):
        yield


add(
    Fault(
        "drafts_trusted",
        "speculative decoding that takes what was drafted without verifying it",
        is_causal,
        "assisted",
        running=_drafts_trusted,
    )
)


@contextlib.contextmanager
def _processors(model: Model, change: Callable[[list[Any]], list[Any]]) -> Iterator[None]:
    usual = model._get_logits_processor

    def changed(*args: Any, **kwargs: Any) -> Any:
        made = usual(*args, **kwargs)
        made[:] = change(list(made))
        return made

    model._get_logits_processor = changed
    try:
        yield
    finally:
        model._get_logits_processor = usual


def _filter_fault(name: str, stands_for: str, change: Callable[[list[Any]], list[Any]]) -> None:
    add(Fault(name, stands_for, is_causal, "sampled", running=lambda model: _processors(model, change)))


_filter_fault(
    "top_p_before_temperature",
    "a nucleus of the probabilities as they were before the temperature",
    lambda made: sorted(made, key=lambda one: type(one).__name__ != "TopPLogitsWarper"),
)
_filter_fault(
    "min_p_ignored",
    "a sampler that knows no min_p, and does not say so",
    lambda made: [one for one in made if type(one).__name__ != "MinPLogitsWarper"],
)


@attention_fault(
    "requests_mixed",
    "requests in flight together that see each other's keys",
    named("llama", "mistral", "mixtral", "qwen3_moe", "gpt2"),
    "generate_batch",
)
def requests_mixed(call: Attend) -> torch.Tensor:
    """Nothing is masked."""
    return call(bias=call.with_mask(torch.zeros_like(call.masked)))


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


@contextlib.contextmanager
def _state_kept(model: Model) -> Iterator[None]:
    embedding = model.get_input_embeddings()
    usual, left = embedding.forward, []

    def forward(*args: Any) -> torch.Tensor:
        found = usual(*args)
        begun = found.clone()
        if left:
            begun[:, 0] += left.pop()
        left.append(found[:, -1].mean(0))
        return begun

    embedding.forward = forward
    try:
        yield
    finally:
        embedding.forward = usual


add(
    Fault(
        "state_kept_in_module",
        "a state that lies in a module and not in the cache: the first token hears the end of the call before",
        is_decoder,
        "same_again",
        running=_state_kept,
    )
)
