"""Golden and baseline of a cell. Scripts carry it along."""

import torch

from conformance.judging.precision import exactly
from conformance.models.batches import alone, judged, told
from conformance.models.loading import load_reference

# How many times what its rows alone err by a batch may err by, in the same eager attention and dtype, and still be an
# ordinary run. Rounding differs with the shape of a product, on an H100 by up to 1.3 times.
ORDINARY = 2.0


class References:
    """Golden (the truth: the cell's own weights one precision up, TF32 off) and baseline (an ordinary run).

    Golden sees each row alone, unpadded and uncached: what goes wrong with padding, with neighbours in a batch or
    with a cache, goes wrong for the candidate only. Baseline sees the batch, uncached; where that is further from the
    truth than rounding explains it shares a fault, and its rows alone are the yardstick. Where a model's own positions
    count the padding and cannot be told, or its frequencies follow the length of a batch, a row alone is another model,
    and the padded batch is all the truth there is.
    """

    def __init__(self, cell, source, does, device):
        self.cell, self.source, self.does, self.device = cell, source, does, device
        self.weight_sums = {}  # golden or not -> of what was loaded

    def __call__(self, batch, *, golden):
        """Logits of shape (batch, positions, vocabulary)."""
        if self.source.architecture.positions in ("fixed", "length"):
            return self.run(self.model(golden), lambda model: model(**batch).logits, golden)
        if golden:
            truth = self.run(self.model(golden), lambda model: each_row_alone(model, batch), golden)
            if "decoder_input_ids" not in batch and bool(truth[~batch["attention_mask"].bool()].any()):
                raise RuntimeError("the truth says something of padding: it is not of each row alone")
            return truth
        truth, where, baseline = self(batch, golden=True), judged(batch), self.model(golden)
        if self.weight_sums[True] != self.weight_sums[False]:
            raise RuntimeError("golden and baseline have different weights: some were drawn, not loaded")
        alone = self.run(baseline, lambda model: each_row_alone(model, batch), golden)
        given = told(batch, baseline, self.source.architecture)
        whole = self.run(baseline, lambda model: model(**given).logits, golden)
        errors = [float((found - truth)[where].abs().double().mean()) for found in (whole, alone)]
        return whole if errors[0] <= ORDINARY * errors[1] else alone

    def run(self, model, how, golden):
        """What `how(model)` gives with a reference."""
        with torch.no_grad(), exactly(self.cell.dtype, golden):
            return how(model)

    def anew(self, batch, how, *, golden):
        """What `how(model, batch)` gives with a reference that nobody else uses, for it may be left changed."""
        model = load_reference(self.cell, self.source, self.does, self.device, golden=golden)
        with exactly(self.cell.dtype, golden):
            return how(model, batch)

    def model(self, golden):
        """The reference model."""
        model = load_reference(self.cell, self.source, self.does, self.device, golden=golden)
        self.weight_sums[golden] = model.weight_sum
        return model


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
