"""Token by token with a cache. Scripts carry it along."""

from conformance.decoding import cached, steps
from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward


def run(model, batch, course):
    """All tokens at once, and the last of them one by one with a cache."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one, other = forward(model, batch), cached(model, batch, steps(batch), course.takes(model))
    return TwoRuns("stepwise", one, other, batch, judged(batch, one))
