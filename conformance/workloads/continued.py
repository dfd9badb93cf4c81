"""A prompt, then given tokens one by one. Scripts carry it along."""

import torch

from conformance.decoding import cached
from conformance.judging.found import OneRun
from conformance.models.batches import extended, is_padded, judged, with_positions

NEW_TOKENS = 40  # past the windows and chunks of the fixtures, which the prompts do not fill


def run(model, batch, course):
    """The logits of the prompt, and of each token that a loop gives the model with the cache it got back."""
    return looped(model, batch, course, [1] * NEW_TOKENS)


def looped(model, batch, course, parts):
    """The logits of the prompt and of given tokens, of which each call after it gets so many, with the cache.

    Unpadded, the loop is the plainest there is: no mask and no positions, which the model must count on by itself.
    """
    new = given_tokens(batch, course, model, sum(parts))
    whole = continued_by(batch, new)
    given = with_positions(whole, model) if is_padded(batch) else without_mask(whole)
    with course.during("forward"):
        logits = cached(model, given, [batch["input_ids"].shape[1], *parts], course.takes(model))
    return OneRun("logits", logits, whole, judged(whole, logits))


def continued_by(batch, new):
    """The teacher-forcing batch of the rows with these tokens behind them."""
    # One more than is judged: the last token of such a batch is not looked at.
    return extended(batch, torch.cat([batch["input_ids"], new, new[:, :1]], dim=1), takes_position_ids=False)


def without_mask(batch):
    """The batch as a person hands it on who has no padding."""
    return {name: tensor for name, tensor in batch.items() if name != "attention_mask"}


def given_tokens(batch, course, model, count):
    """So many plain tokens for each row, of shape (rows, count)."""
    tokens, generator = batch["input_ids"], torch.Generator().manual_seed(course.seed)
    shape = (len(tokens), count)
    return torch.randint(4, course.takes(model)["highest"], shape, generator=generator).to(tokens.device)
