"""A padded batch, and each row alone. Scripts carry it along."""

import torch

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions


def run(model, batch, course):
    """A padded batch, and each row alone without its padding."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = model(**batch).logits
        other = torch.zeros_like(one)
        for row, mask in enumerate(batch["attention_mask"].bool()):
            alone = {
                name: tensor[row : row + 1] if name.startswith("decoder") else tensor[row : row + 1, mask]
                for name, tensor in batch.items()
            }
            where = slice(None) if "decoder_input_ids" in batch else mask
            other[row, where] = model(**alone).logits[0]
    return TwoRuns("padding_invariance", one, other, batch, judged(batch))
