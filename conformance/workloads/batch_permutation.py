"""The rows in another order. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, rolled, with_positions
from conformance.models.outputs import forward


def run(model, batch, course):
    """The rows in order, and in another."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        other = forward(model, rolled(batch)).roll(-1, 0)
        one = forward(model, batch)
    return TwoRuns("batch_permutation", one, other, batch, judged(batch, one))
