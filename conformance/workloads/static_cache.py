"""A StaticCache that has slots to spare. Scripts carry it along."""

from conformance.decoding import cached, steps
from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, length_of, rows_of, with_positions
from conformance.spellings import make_static_cache

SPARE_SLOTS = 23  # never filled


def run(model, batch, course):
    """Step by step with a DynamicCache, and with a StaticCache that has slots to spare."""
    batch = with_positions(batch, model)
    rows, length = rows_of(batch), length_of(batch)
    with course.during("forward"):
        cache, adapt = make_static_cache(model, rows, length + SPARE_SLOTS)
        parts, inputs = steps(batch), course.takes(model)
        one, other = cached(model, batch, parts, inputs), cached(model, batch, parts, inputs, cache, adapt)
    return TwoRuns("static_cache", one, other, batch, judged(batch, one))
