"""Other tokens at the end. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import inputs_of, is_padded, judged, with_positions
from conformance.models.outputs import forward

CHANGED = 11  # last tokens


def run(model, batch, course):
    """The batch, and the same with other tokens at the end: what stands before them must not change."""
    batch = with_positions(batch, model)
    given = batch
    if not is_padded(batch):  # not asked to mask, a model must be causal of its own accord
        given = {name: tensor for name, tensor in batch.items() if name != "attention_mask"}
    highest = inputs_of(course.source.architecture, model.config)["highest"]
    name = "decoder_input_ids" if "decoder_input_ids" in batch else "input_ids"
    tokens = batch[name].clone()
    tokens[:, -CHANGED:] = (tokens[:, -CHANGED:] - 3) % (highest - 4) + 4  # another plain token
    with course.during("forward"):
        one, other = forward(model, given), forward(model, {**given, name: tokens})
    where = judged(batch, one)
    where[:, -CHANGED:] = False
    return TwoRuns("causality", one, other, batch, where)
