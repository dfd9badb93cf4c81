"""One forward pass. Scripts carry it along."""

from conformance.judging.found import OneRun
from conformance.models.batches import judged, told
from conformance.models.outputs import forward


def run(model, batch, course):
    """Its logits at every attended position."""
    given = told(batch, model, course.source.architecture)
    with course.during("forward"):
        logits = forward(model, given)
    return OneRun("logits", logits, batch, judged(batch, logits))
