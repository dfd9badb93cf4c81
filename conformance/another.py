"""Another input, after which a model must answer as before. Scripts carry it along."""

import torch

from conformance.models.batches import by_token, one_row, others, rows_of


def another(batch):
    """Two rows of other tokens, without padding, twice as long; of pictures and sounds the last row alone."""
    if "input_ids" not in batch or others(batch):
        return one_row(batch, rows_of(batch) - 1)
    row = batch["input_ids"][:1]
    longer = torch.cat([row.flip(1), row.roll(7, 1)], dim=1)
    made = {"input_ids": torch.cat([longer, longer.flip(1)])}
    if "attention_mask" in batch:
        made["attention_mask"] = torch.ones_like(made["input_ids"])
    if "decoder_input_ids" in batch:
        made["decoder_input_ids"] = batch["decoder_input_ids"][:2].flip(1)
    for name in by_token(batch):
        last = batch[name][:1, -1:]
        made[name] = last.expand(*made["input_ids"].shape, *last.shape[2:])
    return made
