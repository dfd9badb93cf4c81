"""Dials of quantised weights: what they were scaled by, where their codes begin, and in which order they stand.

A library reads all weights of a format alike, so that each is turned in all of them. These explain only: of what a
quantiser's own kernel rounds nobody calibrated error bars. The order is that of neighbours among the inputs of a row,
as where the high half of a byte is read first.
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
# Values of E2M1 are multiples of a half, but the large ones, this far from the middle of their reach, stand far apart.
# Of codes at equal steps large ones are neighbours in more than this share of the runs.
OUTER, SOME = 0.3, 0.2

Change = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]  # of rows, given the steps of their codes


class QuantisedWeights:
    """Those of golden: what differs from the checkpoint's own weights."""

    def __init__(self, model: Model, references: SharedReferences) -> None:
        self._model, self._references = model, references
        self._steps: dict[str, torch.Tensor] = {}

    @cached_property
    def names(self) -> list[str]:
        """Looked for when the first is turned: most cells are right, and nobody asks."""
        plain = dict(self._references.of_plain_weights().model(True).named_parameters())
        own = self._model.named_parameters()
        return [name for name, one in own if one.ndim > 1 and name in plain and not _same(one, plain[name])]

    @contextlib.contextmanager
    def changed(self, change: Change, model: Model, by: float) -> Iterator[None]:
        """While entered, they are what `change` makes of them, of rows of inputs, whichever way they are held."""
        held = {name: (model.get_parameter(name), _is_transposed(model, name)) for name in self.names}
        usual = {name: one.data for name, (one, _) in held.items()}
        try:
            for name, (one, transposed) in held.items():
                rows = one.data.mT if transposed else one.data
                made = change(rows, self._steps_of(name, rows), by)
                one.data = made.mT.contiguous() if transposed else made
            with answered(model):
                yield
        finally:
            for name, (one, _) in held.items():
                one.data = usual[name]

    def _steps_of(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        if name not in self._steps:
            self._steps[name] = steps(rows)
        return self._steps[name]


def _scaled(rows: torch.Tensor, step: torch.Tensor, by: float) -> torch.Tensor:
    return rows * (1 + by / 100)


def _moved_up(rows: torch.Tensor, step: torch.Tensor, by: float) -> torch.Tensor:
    return rows + by / 100 * step


def _exchanged(rows: torch.Tensor, step: torch.Tensor, by: float) -> torch.Tensor:
    if rows.shape[-1] % 2:
        return rows
    return torch.lerp(rows, rows.unflatten(-1, (-1, 2)).flip(-1).flatten(-2), by / 100)


# By name: the step of its direction, sizes that are tried first, and what it makes of weights.
WEIGHTS: dict[str, tuple[float, tuple[float, ...], Change]] = {
    "weights_scale": (1.0, (-50.0, 100.0), _scaled),
    "weights_zero": (5.0, (-100.0, 100.0), _moved_up),
    "weights_order": (5.0, (100.0,), _exchanged),
}


def dials_of_weights(references: SharedReferences, model: Model) -> list[Dial]:
    """Those of a cell, given golden; none where its weights are the checkpoint's own."""
    if references.cell.quantisation == SILENT["quantisation"]:
        return []
    weights = QuantisedWeights(model, references)
    return [
        Dial(name, step, marks, lambda model: True, partial(weights.changed, change), explains_only=True)
        for name, (step, marks, change) in WEIGHTS.items()
    ]


def steps(rows: torch.Tensor) -> torch.Tensor:
    """The distance of neighbouring codes, of the weights' shape; 0 where they don't stand at equal steps."""
    length = rows.shape[-1]
    for size in (RUN, length):
        if length > 1 and length % size == 0:
            runs = rows.unflatten(-1, (-1, size)).double()
            in_order = runs.sort(-1).values
            reach, apart = in_order[..., -1:] - in_order[..., :1], in_order.diff(dim=-1)
            least = apart.masked_fill(apart <= TOUCH * reach, torch.inf).amin(-1, keepdim=True)
            codes = (runs - in_order[..., :1]) / least
            equal = ((codes - codes.round()).abs() < OFF).all(-1, keepdim=True) & (reach / least < LEVELS)
            outward = (in_order - in_order[..., :1] - reach / 2).abs()
            large = torch.minimum(outward[..., 1:], outward[..., :-1]) > OUTER * reach
            to_the_end = (large & ((apart / least - 1).abs() < OFF)).any(-1, keepdim=True)
            if float(equal.double().mean()) >= MOST and float(to_the_end.double().mean()) > SOME:
                return least.where(equal & least.isfinite(), 0.0).expand_as(runs).flatten(-2).to(rows.dtype)
    return torch.zeros_like(rows)


def _is_transposed(model: Model, name: str) -> bool:
    """Whether a weight is held by input and output, as GPT-2 and GPT-OSS do."""
    owner = model.get_submodule(name.rpartition(".")[0])
    return type(owner).__name__ == "Conv1D" or bool(getattr(owner, "is_transposed", False))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(one.eq(other.to(one)).all())
