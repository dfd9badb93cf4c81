"""A prompt, an answer, and what is said next, all at once, on the filled cache. Scripts carry it along."""

from conformance.workloads.continued import looped

ANSWER, SAID = 12, 17  # tokens one by one, and at once: more than the windows and chunks of the fixtures hold
NEXT = 8  # one by one again


def run(model, batch, course):
    """The logits of all of them, from a loop that hands the cache on."""
    return looped(model, batch, course, [1] * ANSWER + [SAID] + [1] * NEXT)
