"""Faults of a model that several processes hold together. Each process plants its own."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from conformance.faults.catalogue import Fault, Model, add, named
from matrix.cell import Cell

_ROWWISE = ("o_proj", "dense")  # what puts the heads together, of which each process has some
_SUITS = named("llama", "mixtral", "qwen3_moe", "gpt_neox")


def _put_together(model: Model) -> Any:
    """The module that puts the heads of the last layer together."""
    return [module for name, module in model.named_modules() if name.rpartition(".")[2] in _ROWWISE][-1]


def _local(tensor: Any) -> Any:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _swap(model: Model, cell: Cell) -> None:
    mine = _local(_put_together(model).weight)
    parts = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, mine.contiguous())
    with torch.no_grad():
        mine.copy_(parts[torch.distributed.get_rank() - 1])


def _answered_by(
    wrong: Callable[[Any, Any, Any], Any], where: Callable[[Model], Any] = _put_together
) -> Callable[[Model], AbstractContextManager[None]]:
    """While entered, that module answers so: (itself, its usual forward, its input)."""

    @contextlib.contextmanager
    def running(model: Model) -> Iterator[None]:
        module = where(model)
        usual = module.forward
        module.forward = functools.partial(wrong, module, usual)
        try:
            yield
        finally:
            module.forward = usual

    return running


def _not_summed(module: Any, usual: Any, given: Any) -> Any:
    bias = None if module.bias is None else _local(module.bias)
    return torch.nn.functional.linear(_local(given), _local(module.weight), bias)


def _bias_of_each(module: Any, usual: Any, given: Any) -> Any:
    return usual(given) + (torch.distributed.get_world_size() - 1) * _local(module.bias)


def _said_otherwise(module: Any, usual: Any, given: Any) -> Any:
    return usual(given) * (1 + 0.5 * torch.distributed.get_rank())


add(
    Fault(
        "shards_swapped",
        "a process loads the part of another: its heads meet the columns of others",
        _SUITS,
        device_map="tp2",
        loaded=_swap,
    )
)
add(
    Fault(
        "parts_not_summed",
        "an all-reduce left out: each process goes on with what its own heads say",
        _SUITS,
        device_map="tp2",
        running=_answered_by(_not_summed),
    )
)
add(
    Fault(
        "bias_of_each_process",
        "a bias added by each process before the sum, as often as there are processes",
        named("gpt_neox"),
        device_map="tp2",
        running=_answered_by(_bias_of_each),
    )
)
add(
    Fault(
        "one_process_says_otherwise",
        "logits that are put together in the first process alone: the others choose other tokens",
        _SUITS,
        device_map="tp2",
        running=_answered_by(_said_otherwise, lambda model: model.get_output_embeddings()),
    )
)
