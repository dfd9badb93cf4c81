"""Other tokens at the end. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions

CHANGED = 11  # last tokens


def run(model, batch, course):
    """The batch, and the same with other tokens at the end: what stands before them must not change."""
    batch = with_positions(batch, model)
    where = judged(batch)
    where[:, -CHANGED:] = False
    given = batch
    if batch["attention_mask"].all():  # not asked to mask, a model must be causal of its own accord
        given = {name: tensor for name, tensor in batch.items() if name != "attention_mask"}
    name = "decoder_input_ids" if "decoder_input_ids" in batch else "input_ids"
    tokens = batch[name].clone()
    tokens[:, -CHANGED:] = (tokens[:, -CHANGED:] + 1) % model.config.get_text_config().vocab_size
    with course.during("forward"):
        one, other = model(**given).logits, model(**{**given, name: tokens}).logits
    return TwoRuns("causality", one, other, batch, where)
