"""In chunks with a cache. Scripts carry it along."""

from conformance.decoding import cached
from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, length_of, with_positions
from conformance.models.outputs import forward

CHUNK = 17  # no multiple of any block size


def run(model, batch, course):
    """All tokens at once, and in chunks of CHUNK with a cache."""
    batch = with_positions(batch, model)
    length = length_of(batch)
    parts = [min(CHUNK, length - begin) for begin in range(0, length, CHUNK)]
    with course.during("forward"):
        one, other = forward(model, batch), cached(model, batch, parts, course.takes(model))
    return TwoRuns("chunked_prefill", one, other, batch, judged(batch, one))
