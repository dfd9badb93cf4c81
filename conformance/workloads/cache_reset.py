"""A static cache that is reset and used again. Scripts carry it along."""

import torch

from conformance.decoding import cached
from conformance.judging.found import OneRun
from conformance.models.batches import judged, one_row, rows_of
from conformance.spellings import make_static_cache
from conformance.workloads.cache_crop import NEW_TOKENS, calls
from conformance.workloads.continued import continued_by

BEFORE = 20  # tokens more that were in the cache: longer than all that follows, so that some of it stays behind


def run(model, batch, course):
    """The logits of a text in a cache that held another, longer one."""
    return reused(model, batch, course, rows_of(batch))


def reused(model, batch, course, rows):
    """The same, of the first rows alone: the cache was made for all."""
    inputs, length = course.takes(model), batch["input_ids"].shape[1]
    generator = torch.Generator().manual_seed(course.seed)
    before, new = (
        torch.randint(4, inputs["highest"], (rows_of(batch), many), generator=generator).to(batch["input_ids"].device)
        for many in (BEFORE, NEW_TOKENS)
    )
    kept = [one_row(batch, row) for row in range(rows)]
    fewer = {name: torch.cat([row[name] for row in kept]) for name in kept[0] if isinstance(batch[name], torch.Tensor)}
    fewer, new = {**batch, **fewer}, new[:rows]
    # Room for both texts: a reset that does nothing is to show in what comes out.
    cache, adapt = make_static_cache(model, rows_of(batch), 2 * length + BEFORE + NEW_TOKENS)
    whole = continued_by(fewer, new)
    with course.during("forward"):
        cached(model, calls(model, batch, before), [length, BEFORE], inputs, cache, adapt)
        cache.reset()
        logits = cached(model, calls(model, fewer, new), [length] + [1] * NEW_TOKENS, inputs, cache, adapt)
    return OneRun("logits", logits, whole, judged(whole, logits))
