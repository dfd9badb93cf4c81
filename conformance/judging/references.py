"""Golden and baseline of a cell. Scripts carry it along."""

import torch

from conformance.judging.precision import exactly
from conformance.models.batches import alone, judged, others, rows_of, told
from conformance.models.loading import load_reference
from conformance.models.outputs import forward, home

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
            return self.run(self.model(golden), lambda model: home(forward(model, batch)), golden)
        if golden:
            truth = self.run(self.model(golden), lambda model: each_row_alone(model, batch), golden)
            mask = batch.get("attention_mask")
            of_tokens = mask is not None and "decoder_input_ids" not in batch and mask.shape == truth.shape[:2]
            if of_tokens and bool(truth[~mask.bool()].any()):
                raise RuntimeError("the truth says something of padding: it is not of each row alone")
            return truth
        truth, baseline = self(batch, golden=True), self.model(golden)
        if self.weight_sums[True] != self.weight_sums[False]:
            raise RuntimeError("golden and baseline have different weights: some were drawn, not loaded")
        alone = self.run(baseline, lambda model: each_row_alone(model, batch), golden)
        given = told(batch, baseline, self.source.architecture)
        whole = self.run(baseline, lambda model: forward(model, given).to(truth.device), golden)
        where = judged(batch, truth)
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
    """Logits of shape (batch, positions, classes); zero where there is padding."""
    rows, places = [], []
    for row in range(rows_of(batch)):
        own, where = alone(batch, row)
        if "input_ids" not in own or not others(own):  # with pictures some classes find positions by the mask alone
            own.pop("attention_mask", None)
        logits = forward(model, own)
        by_position = isinstance(where, torch.Tensor) and logits.shape[1] == int(where.sum())
        rows.append(logits[0])
        places.append(where if by_position else slice(None))
    apart = home(torch.cat(rows)).split([len(row) for row in rows])  # at once: each copy waits for the GPU
    length = len(places[0]) if isinstance(places[0], torch.Tensor) else len(rows[0])
    found = apart[0].new_zeros((len(rows), length, apart[0].shape[-1]))
    for row, (logits, where) in enumerate(zip(apart, places, strict=True)):
        found[row, where] = logits
    return found
