"""Golden and baseline of a cell. Scripts carry it along."""

import torch

from conformance.judging.precision import exactly
from conformance.models.batches import alone
from conformance.models.loading import load_reference


class References:
    """Golden (the truth: the cell's own weights one precision up, TF32 off) and baseline (an ordinary run).

    Both see each row alone, unpadded and without a cache: what goes wrong with padding, with neighbours in a batch or
    with a cache, goes wrong for the candidate only. Where a model's own positions count the padding and cannot be
    told, a row alone is another model, and the padded batch is all the truth there is.
    """

    def __init__(self, cell, source, does, device):
        self.cell, self.source, self.does, self.device = cell, source, does, device

    def __call__(self, batch, *, golden):
        """Logits of shape (batch, positions, vocabulary)."""
        model = self.model(golden)
        with torch.no_grad(), exactly(self.cell.dtype, golden):
            return model(**batch).logits if self.padded else each_row_alone(model, batch)

    @property
    def padded(self):
        """Whether a row alone is no truth for the same row in a padded batch."""
        return self.source.architecture.positions == "fixed"

    def anew(self, batch, how, *, golden):
        """What `how(model, batch)` gives with a reference that nobody else uses, for it may be left changed."""
        model = load_reference(self.cell, self.source, self.does, self.device, golden=golden)
        with exactly(self.cell.dtype, golden):
            return how(model, batch)

    def model(self, golden):
        """The reference model."""
        return load_reference(self.cell, self.source, self.does, self.device, golden=golden)


def each_row_alone(model, batch):
    """Logits of shape (batch, positions, vocabulary); zero where there is padding."""
    found = None
    for row in range(len(batch["attention_mask"])):
        own, where = alone(batch, row)
        del own["attention_mask"]
        logits = model(**own).logits
        if found is None:
            length = batch.get("decoder_input_ids", batch["attention_mask"]).shape[1]
            found = logits.new_zeros((len(batch["attention_mask"]), length, logits.shape[-1]))
        found[row, where] = logits[0]
    return found
