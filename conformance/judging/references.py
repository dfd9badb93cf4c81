"""Golden and baseline of a cell. Scripts carry it along."""

import torch

from conformance.judging.precision import exactly
from conformance.models.loading import load_reference


class References:
    """Golden (the truth: the cell's own weights one precision up, TF32 off) and baseline (an ordinary run)."""

    def __init__(self, cell, source, does, device):
        self.cell, self.source, self.does, self.device = cell, source, does, device

    def __call__(self, batch, *, golden):
        """Logits of shape (batch, positions, vocabulary)."""
        model = self.model(golden)
        with torch.no_grad(), exactly(self.cell.dtype, golden):
            return model(**batch).logits

    def anew(self, batch, how, *, golden):
        """What `how(model, batch)` gives with a reference that nobody else uses, for it may be left changed."""
        model = load_reference(self.cell, self.source, self.does, self.device, golden=golden)
        with exactly(self.cell.dtype, golden):
            return how(model, batch)

    def model(self, golden):
        """The reference model."""
        return load_reference(self.cell, self.source, self.does, self.device, golden=golden)
