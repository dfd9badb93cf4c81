"""In chunks with a cache. Scripts carry it along."""

from conformance.decoding import cached
from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions

CHUNK = 17  # no multiple of any block size


def run(model, batch, course):
    """All tokens at once, and in chunks of CHUNK with a cache."""
    batch = with_positions(batch, model)
    length = judged(batch).shape[1]
    parts = [min(CHUNK, length - begin) for begin in range(0, length, CHUNK)]
    with course.during("forward"):
        one, other = model(**batch).logits, cached(model, batch, parts)
    return TwoRuns("chunked_prefill", one, other, batch, judged(batch))
