"""Moved after it was dispatched. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward


def run(model, batch, course):
    """The model, and the same after somebody has moved it to the device."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = forward(model, batch)
    with course.during("transform"):
        model = model.to(course.device)
    with course.during("forward"):
        return TwoRuns("moved_after", one, forward(model, batch), batch, judged(batch, one))
