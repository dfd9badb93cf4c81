"""A cache cropped back to a prefix that two texts share, then the other text. Scripts carry it along."""

import torch

from conformance.decoding import cached
from conformance.judging.found import OneRun
from conformance.models.batches import is_padded, with_positions
from conformance.spellings import make_dynamic_cache
from conformance.workloads.continued import continued_by, given_tokens, without_mask

DROPPED, NEW_TOKENS = 12, 6  # behind prompts of 13 tokens both reach beyond the windows of the fixtures
AT_ONCE = 4  # of the other text come in one call, the rest one by one


def run(model, batch, course):
    """The logits of a text whose beginning waited in the cache while the end of another came and went."""
    held, inputs = batch["input_ids"].shape[1], course.takes(model)
    dropped, new = given_tokens(batch, course, model, DROPPED + NEW_TOKENS).split([DROPPED, NEW_TOKENS], 1)
    cache, given = make_dynamic_cache(model), calls(model, batch, dropped)
    with course.during("forward"):
        cached(model, given, [held, DROPPED], inputs, cache)
        cache.crop(-DROPPED)
        parts = [AT_ONCE] + [1] * (NEW_TOKENS - AT_ONCE)
        logits = cached(model, calls(model, batch, new), parts, inputs, cache, held=held)
    return OneRun(
        "logits",
        logits,
        continued_by(batch, new),
        torch.ones(logits.shape[:2], dtype=torch.bool),
        pick=lambda found: found[:, held:],
    )


def calls(model, batch, new):
    """The rows with these tokens behind them as a loop gives them: with positions, and a mask if there is padding."""
    given = with_positions(continued_by(batch, new), model)
    return given if is_padded(batch) else without_mask(given)
