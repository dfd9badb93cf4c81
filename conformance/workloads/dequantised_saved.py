"""Dequantised, saved and loaded. Scripts carry it along."""

from conformance.judging.found import OneRun
from conformance.models.batches import judged, told
from conformance.models.outputs import forward
from conformance.models.saved import saved_and_loaded


def run(model, batch, course):
    """The logits of what is loaded, at every attended position.

    Raises:
        SavedWrongly: the files do not say how they are to be read, or lack a parameter.
    """
    with course.during("transform"):
        model = model.dequantize()
    twin, _ = saved_and_loaded(model, course)
    given = told(batch, twin, course.source.architecture)
    with course.instead(twin), course.during("forward"):
        logits = forward(twin, given)
    return OneRun("logits", logits, batch, judged(batch, logits))
