"""A cache cropped back to a prefix that two texts share, then the other text. Scripts carry it along."""

import torch

from conformance.decoding import cached
from conformance.judging.found import OneRun
from conformance.models.batches import extended, is_padded, with_positions
from conformance.spellings import make_dynamic_cache

DROPPED, NEW_TOKENS = 12, 6  # behind prompts of 13 tokens both reach beyond the windows of the fixtures
AT_ONCE = 4  # of the other text come in one call, the rest one by one


def run(model, batch, course):
    """The logits of a text whose beginning waited in the cache while the end of another came and went."""
    tokens, inputs = batch["input_ids"], course.takes(model)
    shape = len(tokens), DROPPED + NEW_TOKENS
    drawn = torch.randint(4, inputs["highest"], shape, generator=torch.Generator().manual_seed(course.seed))
    dropped, new = drawn.to(tokens.device).split([DROPPED, NEW_TOKENS], 1)
    held, cache = tokens.shape[1], make_dynamic_cache(model)
    given, whole = calls(model, batch, dropped), continued_by(batch, new)
    with course.during("forward"):
        cached(model, given, [held, DROPPED], inputs, cache)
        cache.crop(-DROPPED)
        parts = [AT_ONCE] + [1] * (NEW_TOKENS - AT_ONCE)
        logits = cached(model, calls(model, batch, new), parts, inputs, cache, held=held)
    return OneRun(
        "logits",
        logits,
        whole,
        torch.ones(logits.shape[:2], dtype=torch.bool),
        pick=lambda found: found[:, held:],
    )


def continued_by(batch, new):
    """The teacher-forcing batch of the rows with these tokens behind them."""
    # One more than is judged: the last token of such a batch is not looked at.
    return extended(batch, torch.cat([batch["input_ids"], new, new[:, :1]], dim=1), takes_position_ids=False)


def calls(model, batch, new):
    """The same as a loop gives it to the model: with positions, and without a mask where there is no padding."""
    given = with_positions(continued_by(batch, new), model)
    if not is_padded(batch):
        given.pop("attention_mask", None)
    return given
