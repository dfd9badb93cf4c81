"""The rows in another order. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions


def run(model, batch, course):
    """The rows in order, and in another."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        other = model(**{name: tensor.roll(1, 0) for name, tensor in batch.items()}).logits.roll(-1, 0)
        one = model(**batch).logits
    return TwoRuns("batch_permutation", one, other, batch, judged(batch))
