"""Faults of mixtures of experts: another expert, one too few, or others' weights."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from conformance.faults.catalogue import Fault, Model, add, named
from matrix.cell import Cell

_MIXTURES = named("mixtral", "qwen3_moe", "glm4_moe", "jamba")
# Jamba's weights need not add up to one, and up to transformers 5.17 its router hands out scores alone.
_RENORMALISED = named("mixtral", "qwen3_moe", "glm4_moe")


def routers(model: Model) -> Iterator[torch.nn.Module]:
    """The modules that choose experts: of most releases each hands out scores, weights and experts."""
    return (module for path, module in model.named_modules() if path.endswith((".gate", ".router")))


def wrong_router(model: Model, cell: Cell) -> None:
    """Each token goes to the experts after its own."""
    for router in routers(model):
        router.weight.data = router.weight.data.roll(1, 0)


def expert_dropped(model: Model, cell: Cell) -> None:
    """One expert of one layer says nothing."""
    experts = next(module for path, module in model.named_modules() if path.endswith(".experts"))
    experts.down_proj.data[0] = 0


@contextlib.contextmanager
def routed(model: Model, change: Callable[[Any], Any]) -> Iterator[None]:
    """While entered, what its routers hand out is changed so."""
    hooks = [router.register_forward_hook(lambda _, given, made: change(made)) for router in routers(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _not_renormalised(
    scores: torch.Tensor, weights: torch.Tensor, experts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shares = scores.float().softmax(-1).gather(-1, experts).sum(-1, keepdim=True)
    return scores, weights * shares.to(weights.dtype), experts


def _second_left_out(
    scores: torch.Tensor, weights: torch.Tensor, experts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    lost = weights == weights.amin(-1, keepdim=True)
    return scores, weights.masked_fill(lost, 0), experts


add(Fault("wrong_router", "a router whose rows are loaded in another order", _MIXTURES, loaded=wrong_router))
add(
    Fault("expert_dropped", "an expert that a device map or a conversion left behind", _MIXTURES, loaded=expert_dropped)
)
add(
    Fault(
        "weights_not_renormalised",
        "the weights of the chosen experts do not add up to one",
        _RENORMALISED,
        running=lambda model: routed(model, lambda made: _not_renormalised(*made)),
    )
)
add(
    Fault(
        "one_expert_too_few",
        "top-k with a k that is too small",
        _RENORMALISED,
        running=lambda model: routed(model, lambda made: _second_left_out(*made)),
    )
)
