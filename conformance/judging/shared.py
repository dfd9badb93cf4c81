"""References made once and shared by all cells that have the same truth."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from conformance.judging.references import References
from conformance.models.loading import Source
from conformance.rooms import doing
from matrix.axes import Attention
from matrix.cell import Cell, make_cell

_MODEL_BYTES_KEPT = 256 * 2**20
_LOGIT_BYTES_KEPT = 256 * 2**20

Batch = Mapping[str, torch.Tensor]
T = TypeVar("T")


def forget_beyond(most: int, kept: OrderedDict[Any, T], size: Callable[[T], int]) -> None:
    """What is kept goes from the first on, until it takes no more bytes than that, or is the last."""
    while len(kept) > 1 and sum(map(size, kept.values())) > most:
        kept.popitem(last=False)


class Kept:
    """A cache of reference models and of their logits.

    Small models stay loaded; one that alone exceeds the budget is loaded for each use, so that golden, baseline and
    candidate of a real checkpoint never have to fit at once.
    """

    def __init__(self) -> None:
        self.models: OrderedDict[tuple[object, ...], torch.nn.Module] = OrderedDict()
        self.logits: OrderedDict[tuple[object, ...], torch.Tensor] = OrderedDict()
        self.weight_sums: dict[tuple[object, ...], dict[bool, float]] = {}  # outlive the models


class SharedReferences(References):
    """References of a cell that look into the cache first."""

    def __init__(self, cell: Cell, source: Source, device: torch.device, kept: Kept) -> None:
        super().__init__(cell, source, doing(cell), device)
        self._kept = kept
        self.weight_sums = kept.weight_sums.setdefault(self._weights(golden=True)[:-1], {})

    def __call__(self, batch: Batch, *, golden: bool) -> torch.Tensor:
        """Logits of shape (batch, positions, vocabulary)."""
        key, logits = self.key(batch, golden=golden), self._kept.logits
        if key not in logits:
            logits[key] = super().__call__(batch, golden=golden)
            forget_beyond(_LOGIT_BYTES_KEPT, logits, lambda kept: kept.nbytes)
        return logits[key]

    def key(self, batch: Batch, *, golden: bool) -> tuple[object, ...]:
        """What the logits of a batch follow from."""
        digest = tuple((name, *_said(value)) for name, value in sorted(batch.items()))
        return (*self._weights(golden), 0 if golden else self.draws, digest)

    def model(self, golden: bool, attention: Attention | None = None) -> torch.nn.Module:
        """The reference model, through another attention implementation if one is named."""
        through = str(attention or self.source.architecture.reference_attention)
        key, models = (*self._weights(golden), through), self._kept.models
        if key in models:
            models.move_to_end(key)
            return models[key]
        model: torch.nn.Module = super().model(golden, attention)
        if _bytes(model) <= _MODEL_BYTES_KEPT:
            models[key] = model
            forget_beyond(_MODEL_BYTES_KEPT, models, _bytes)
        return model

    def unquantised(self, batch: Batch) -> torch.Tensor:
        """Golden logits of the weights as they were before they were quantised."""
        return self.of_plain_weights()(batch, golden=True)

    def of_plain_weights(self) -> "SharedReferences":
        """Those of the same checkpoint before it was quantised."""
        plain = make_cell(self.cell.architecture, dtype=self.cell.dtype, attention="eager")
        return SharedReferences(plain, self.source, self.device, self._kept)

    def _weights(self, golden: bool) -> tuple[object, ...]:
        placed = self.cell.device_map if self.does.placed_first else ""
        return self.source.checkpoint, self.cell.dtype, self.cell.quantisation, placed, golden


def _said(value: object) -> tuple[object, ...]:
    if not isinstance(value, torch.Tensor):
        return (repr(value),)
    # Of one token to a row `contiguous` keeps any stride, and a view of bytes asks for 1.
    whole = value.cpu().clone(memory_format=torch.contiguous_format)
    return value.shape, value.dtype, whole.view(torch.uint8).numpy().tobytes()


def _bytes(model: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())
