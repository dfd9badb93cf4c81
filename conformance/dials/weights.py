"""Dials of quantised weights: what they were scaled by, where their codes begin, and in which order they stand.

A library reads all weights of a format alike, so that each is turned in all of them. These explain only: of what a
quantiser's own kernel rounds nobody calibrated error bars. The order is that of neighbours along the last dimension, as
where the high half of a byte is read first.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property, partial

import torch

from conformance.dials.catalogue import Dial, Model, answered
from conformance.judging.shared import SharedReferences
from matrix.cell import SILENT

RUN = 32  # neighbours that share a scale in whatever groups; else all of a row do
TOUCH = 1e-3  # of a run's reach: what lies closer is one code, rounded
LEVELS = 256  # of a code of eight bits
OFF = 0.05  # of a step that a value may lie beside one
MOST = 0.9  # of the runs that are to be of equal steps: in few of 32 codes of 255 no two are neighbours

Change = Callable[[float], list[torch.Tensor]]


class QuantisedWeights:
    """Those of golden: what differs from the checkpoint's own weights."""

    def __init__(self, model: Model, references: SharedReferences) -> None:
        self._model, self._references = model, references

    @cached_property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Looked for when the first is turned: most cells are right, and nobody asks."""
        plain = dict(self._references.of_plain_weights().model(True).named_parameters())
        own = self._model.named_parameters()
        return [one for name, one in own if one.ndim > 1 and name in plain and not _same(one, plain[name])]

    @cached_property
    def _steps(self) -> list[torch.Tensor]:
        return [steps(one) for one in self.parameters]

    def scaled(self, by: float) -> list[torch.Tensor]:
        """Larger by so many per cent."""
        return [one.data * (1 + by / 100) for one in self.parameters]

    def moved_up(self, by: float) -> list[torch.Tensor]:
        """Larger by so many per cent of a step, where they stand at equal steps."""
        return [one.data + by / 100 * step for one, step in zip(self.parameters, self._steps, strict=True)]

    def exchanged(self, by: float) -> list[torch.Tensor]:
        """By so many per cent in their neighbour's place, and it in theirs."""
        return [torch.lerp(one.data, _neighbours(one.data), by / 100) for one in self.parameters]

    @contextlib.contextmanager
    def changed(self, change: Change, model: Model, by: float) -> Iterator[None]:
        """While entered, they are what `change` makes of them."""
        usual = [one.data for one in self.parameters]
        for one, data in zip(self.parameters, change(by), strict=True):
            one.data = data
        try:
            with answered(model):
                yield
        finally:
            for one, data in zip(self.parameters, usual, strict=True):
                one.data = data


# By name: the step of its direction, sizes that are tried first, and what it makes of the weights.
WEIGHTS: dict[str, tuple[float, tuple[float, ...], Callable[[QuantisedWeights, float], list[torch.Tensor]]]] = {
    "weights_scale": (1.0, (-50.0, 100.0), QuantisedWeights.scaled),
    "weights_zero": (5.0, (-100.0, 100.0), QuantisedWeights.moved_up),
    "weights_order": (5.0, (100.0,), QuantisedWeights.exchanged),
}


def dials_of_weights(references: SharedReferences, model: Model) -> list[Dial]:
    """Those of a cell, given golden; none where its weights are the checkpoint's own."""
    if references.cell.quantisation == SILENT["quantisation"]:
        return []
    weights = QuantisedWeights(model, references)
    return [
        Dial(name, step, marks, lambda model: True, partial(weights.changed, partial(change, weights)), True)
        for name, (step, marks, change) in WEIGHTS.items()
    ]


def steps(weight: torch.Tensor) -> torch.Tensor:
    """The distance of neighbouring codes, of the weight's shape; 0 where values don't stand at equal steps."""
    row = weight.shape[-1]
    for size in (RUN, row):
        if row % size == 0 and row > 1:
            runs = weight.unflatten(-1, (-1, size)).double()
            in_order = runs.sort(-1).values
            reach, apart = in_order[..., -1:] - in_order[..., :1], in_order.diff(dim=-1)
            least = apart.masked_fill(apart <= TOUCH * reach, torch.inf).amin(-1, keepdim=True)
            codes = (runs - in_order[..., :1]) / least
            equal = ((codes - codes.round()).abs() < OFF).all(-1, keepdim=True) & (reach / least < LEVELS)
            if float(equal.double().mean()) >= MOST:
                return least.where(equal & least.isfinite(), 0.0).expand_as(runs).flatten(-2).to(weight.dtype)
    return torch.zeros_like(weight)


def _neighbours(weight: torch.Tensor) -> torch.Tensor:
    if weight.shape[-1] % 2:
        return weight
    return weight.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(one.eq(other.to(one)).all())
