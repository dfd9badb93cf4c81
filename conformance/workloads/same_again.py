"""One input after another, and again after that. Scripts carry it along."""

from conformance.another import another
from conformance.decoding import cached, steps
from conformance.judging.found import OneRun
from conformance.models.batches import judged, told
from conformance.models.outputs import forward


def run(model, batch, course):
    """Its logits the second time: nothing of what was said before may be left in a module, a buffer or a cache.

    The other input comes first of all as well: what a model keeps of its first call would be right for this one.
    """
    given, other = told(batch, model, course.source.architecture), another(batch)
    inputs = course.takes(model)
    decodes = course.source.architecture.kind == "decoder" and "input_ids" in other and inputs["cache"]
    with course.during("forward"):
        for _ in range(2):
            if decodes:
                cached(model, {"input_ids": other["input_ids"]}, steps(other), inputs)
            else:
                forward(model, other)
            logits = forward(model, given)
    return OneRun("logits", logits, batch, judged(batch, logits))
