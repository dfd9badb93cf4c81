"""A prefix that is prefilled once and repeated for several texts. Scripts carry it along."""

import torch

from conformance.decoding import cached
from conformance.judging.found import OneRun
from conformance.models.batches import one_row, rows_of
from conformance.spellings import make_dynamic_cache
from conformance.workloads.cache_crop import AT_ONCE, NEW_TOKENS, calls
from conformance.workloads.continued import continued_by, given_tokens

REPEATS = 2


def run(model, batch, course):
    """The logits of REPEATS texts for each row, which begin alike and were prefilled as one."""
    rows, inputs, held = rows_of(batch), course.takes(model), batch["input_ids"].shape[1]
    alone = [one_row(batch, row) for row in range(rows) for _ in range(REPEATS)]
    repeated = {
        name: torch.cat([row[name] for row in alone]) if isinstance(batch[name], torch.Tensor) else batch[name]
        for name in batch
    }
    new, cache = given_tokens(repeated, course, model, NEW_TOKENS), make_dynamic_cache(model)
    with course.during("forward"):
        # In two calls: of the second some layers keep less than of the first.
        cached(model, calls(model, batch, new[::REPEATS]), [held - 1, 1], inputs, cache)
        cache.batch_repeat_interleave(REPEATS)
        parts = [AT_ONCE] + [1] * (NEW_TOKENS - AT_ONCE)
        logits = cached(model, calls(model, repeated, new), parts, inputs, cache, held=held)
    return OneRun(
        "logits",
        logits,
        continued_by(repeated, new),
        torch.ones(logits.shape[:2], dtype=torch.bool),
        pick=lambda found: found[:, held:],
    )
