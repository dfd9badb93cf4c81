"""Dials of mixtures of experts: how much of each expert's answer is taken."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from conformance.dials.catalogue import Dial, Model, add, answered
from conformance.faults.experts import routed, routers

ALIKE = 0.02  # of a weight, that the softmax of the scores may give otherwise; bfloat16 rounds both


def mixture(model: Model) -> bool:
    """Whether it chooses experts."""
    return next(routers(model), None) is not None


@contextlib.contextmanager
def _as_they_were(model: Model, by: float) -> Iterator[None]:
    """While entered, the weights of the chosen experts are by so many per cent what they were before."""

    def change(made: Any) -> Any:
        if not isinstance(made, tuple) or len(made) != 3 or made[2].dtype != torch.int64:
            return made  # of a release or a class whose routers hand out something else
        scores, weights, experts = made
        before = scores.double().softmax(-1).gather(-1, experts)
        shares = before.sum(-1, keepdim=True)
        if not torch.allclose(weights.double(), before / shares, rtol=ALIKE, atol=ALIKE):
            return made  # chosen by a sigmoid, or never made to add up to one
        return scores, (weights * (1 + by / 100 * (shares - 1))).to(weights.dtype), experts

    with answered(model), routed(model, change):
        yield


add(Dial("experts", 1.0, (10.0, 100.0), mixture, _as_they_were, explains_only=True))
