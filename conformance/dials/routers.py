"""Dials of mixtures of experts: how much of each expert's answer is taken."""

import contextlib
from collections.abc import Iterator

import torch

from conformance.dials.catalogue import Dial, Model, add, answered
from conformance.faults.experts import routers
from conformance.spellings import text_config


def normalising(model: Model) -> bool:
    """Whether the weights of the experts that a softmax has chosen are made to add up to one."""
    chosen = [router for router in routers(model) if not hasattr(router, "e_score_correction_bias")]
    return bool(chosen) and bool(getattr(text_config(model.config), "norm_topk_prob", True))


@contextlib.contextmanager
def _as_they_were(model: Model, by: float) -> Iterator[None]:
    """While entered, the weights of the chosen experts are by so many per cent what they were before."""

    def change(router: torch.nn.Module, given: object, made: object) -> object:
        if not isinstance(made, tuple) or len(made) != 3:
            return made  # of a release whose routers hand out scores alone
        scores, weights, experts = made
        shares = scores.double().softmax(-1).gather(-1, experts).sum(-1, keepdim=True)
        return scores, (weights * (1 + by / 100 * (shares - 1))).to(weights.dtype), experts

    hooks = [router.register_forward_hook(change) for router in routers(model)]
    try:
        with answered(model):
            yield
    finally:
        for hook in hooks:
            hook.remove()


add(Dial("experts", 1.0, (10.0, 100.0), normalising, _as_they_were, explains_only=True, in_calls=False))
