"""Loaded with eager attention, then given the cell's. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward


def run(model, batch, course):
    """The model, and one that was loaded with eager attention and then switched; what is seen is the latter."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = forward(model, batch)
    twin = course.load(attention="eager")
    with course.during("transform"):
        twin.set_attn_implementation(str(course.cell.attention))
    with course.instead(twin), course.during("forward"):
        return TwoRuns("switched", one, forward(twin, batch), batch, judged(batch, one))
