"""One forward pass. Scripts carry it along."""

from conformance.judging.found import OneRun
from conformance.models.batches import judged


def run(model, batch, course):
    """Its logits at every attended position."""
    with course.during("forward"):
        logits = model(**batch).logits
    return OneRun("logits", logits, batch, judged(batch))
