"""Saved after use, and loaded again. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward


def run(model, batch, course):
    """The model, and what save_pretrained and from_pretrained make of it after it has run."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = forward(model, batch)
    with course.folder() as folder:
        with course.during("save"):
            model.save_pretrained(folder, safe_serialization=True)
        # A quantised checkpoint says itself how it is quantised.
        twin = course.load(checkpoint=folder, quantised=False)
    with course.during("forward"):
        return TwoRuns("reload", one, forward(twin, batch), batch, judged(batch, one))
