"""With a device_map and without. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward


def run(model, batch, course):
    """The model with its device_map, and without."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = forward(model, batch)
    twin = course.load(mapped=False)
    with course.during("forward"):
        return TwoRuns("placement_invariance", one, forward(twin, batch), batch, judged(batch, one))
