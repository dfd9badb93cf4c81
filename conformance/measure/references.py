"""Golden and baseline logits, made once and shared by all cells that have the same truth."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import torch

from conformance.measure import spellings
from conformance.measure.loading import Source, load_reference
from conformance.measure.precision import TrueFloat64, without_tf32
from conformance.measure.training import train_step, without_dropout
from matrix.axes import Dtype, SdpaKernel
from matrix.cell import Cell

_MODEL_BYTES_KEPT = 256 * 2**20
_LOGIT_BYTES_KEPT = 256 * 2**20

Batch = Mapping[str, torch.Tensor]


class References:
    """A cache of reference models and of their logits.

    Small models stay loaded; one that alone exceeds the budget is loaded for each use, so that golden,
    baseline and candidate of a real checkpoint never have to fit at once.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._models: OrderedDict[tuple[object, ...], torch.nn.Module] = OrderedDict()
        self._logits: OrderedDict[tuple[object, ...], torch.Tensor] = OrderedDict()

    def golden(self, cell: Cell, source: Source, batch: Batch) -> torch.Tensor:
        """The truth: the cell's own weights one precision up, TF32 off. Shape (batch, positions, vocabulary)."""
        return self._run(cell, source, batch, golden=True)

    def baseline(self, cell: Cell, source: Source, batch: Batch) -> torch.Tensor:
        """What an ordinary run in the cell's dtype gives."""
        return self._run(cell, source, batch, golden=False)

    def train_step(
        self, cell: Cell, source: Source, batch: Batch, *, golden: bool
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits and gradients of golden or baseline, by name of the parameter."""
        # Not cached: the model is left in training mode.
        model = load_reference(cell, source, self._device, golden=golden)
        with _exactly(cell, golden=golden):
            found: tuple[torch.Tensor, dict[str, torch.Tensor]] = train_step(without_dropout(model), batch)
        return found

    def _run(self, cell: Cell, source: Source, batch: Batch, *, golden: bool) -> torch.Tensor:
        weights = (source, cell.dtype, cell.quantisation, golden)
        digest = tuple((name, tensor.shape, tensor.cpu().numpy().tobytes()) for name, tensor in sorted(batch.items()))
        key = (*_hashable(weights), digest)
        if key not in self._logits:
            model = self._model(cell, source, golden=golden)
            with torch.no_grad(), _exactly(cell, golden=golden):
                self._logits[key] = model(**batch).logits
            while len(self._logits) > 1 and sum(kept.nbytes for kept in self._logits.values()) > _LOGIT_BYTES_KEPT:
                self._logits.popitem(last=False)
        return self._logits[key]

    def _model(self, cell: Cell, source: Source, *, golden: bool) -> torch.nn.Module:
        key = _hashable((source, cell.dtype, cell.quantisation, golden))
        if key in self._models:
            self._models.move_to_end(key)
            return self._models[key]
        model = load_reference(cell, source, self._device, golden=golden)
        if _bytes(model) <= _MODEL_BYTES_KEPT:
            self._models[key] = model
            while sum(map(_bytes, self._models.values())) > _MODEL_BYTES_KEPT:
                self._models.popitem(last=False)
        return model


@contextlib.contextmanager
def _exactly(cell: Cell, *, golden: bool) -> Iterator[None]:
    """SDPA's math kernel where a reference calls SDPA, and of a float32 cell golden in true float64."""
    exact = TrueFloat64() if golden and cell.dtype is Dtype.FLOAT32 else contextlib.nullcontext()
    with without_tf32(), spellings.pinned(SdpaKernel.MATH), exact:
        yield


def _hashable(weights: tuple[Source, object, object, object]) -> tuple[object, ...]:
    source, *rest = weights
    return (source.checkpoint, *rest)


def _bytes(model: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())
