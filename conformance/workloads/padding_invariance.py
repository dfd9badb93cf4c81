"""A padded batch, and each row alone. Scripts carry it along."""

import torch

from conformance.judging.found import TwoRuns
from conformance.models.batches import alone, judged, with_positions
from conformance.models.outputs import forward


def run(model, batch, course):
    """A padded batch, and each row alone without its padding."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = forward(model, batch)
        other = torch.zeros_like(one)
        for row in range(len(one)):
            own, where = alone(batch, row)
            other[row, where] = forward(model, own)[0]
    return TwoRuns("padding_invariance", one, other, batch, judged(batch, one))
