"""Inputs brought to where the model says that it is. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, moved, with_positions
from conformance.models.outputs import forward, logits_of


def run(model, batch, course):
    """The model, and the same by `model(**inputs.to(model.device))`, as it stands in most examples."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = forward(model, batch)
    with course.during("place"):
        asked = moved(batch, model.device, model.dtype)
    with course.during("forward"):
        return TwoRuns("asked_device", one, logits_of(model(**asked)), batch, judged(batch, one))
