"""A prompt, then given tokens one by one. Scripts carry it along."""

import torch

from conformance.decoding import cached
from conformance.judging.found import OneRun
from conformance.models.batches import with_positions

NEW_TOKENS = 40  # past the windows and chunks of the fixtures, which the prompts do not fill


def run(model, batch, course):
    """The logits of the prompt, and of each token that a loop gives the model with the cache it got back.

    Unpadded, the loop is the plainest there is: no mask and no positions, which the model must count on by itself.
    """
    tokens, mask = batch["input_ids"], batch["attention_mask"]
    shape, vocabulary = (len(tokens), NEW_TOKENS), model.config.get_text_config().vocab_size
    new = torch.randint(4, vocabulary, shape, generator=torch.Generator().manual_seed(course.seed)).to(tokens.device)
    whole = {
        "input_ids": torch.cat([tokens, new], dim=1),
        "attention_mask": torch.cat([mask, torch.ones_like(new)], dim=1),
    }
    given = {"input_ids": whole["input_ids"]} if mask.all() else with_positions(whole, model)
    with course.during("forward"):
        logits = cached(model, given, [tokens.shape[1]] + [1] * NEW_TOKENS)
    return OneRun("logits", logits, whole, whole["attention_mask"].bool())
