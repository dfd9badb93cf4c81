"""A prompt, then given tokens one by one. Scripts carry it along."""

import torch

from conformance.decoding import cached
from conformance.judging.found import OneRun
from conformance.models.batches import extended, is_padded, judged, with_positions

NEW_TOKENS = 40  # past the windows and chunks of the fixtures, which the prompts do not fill


def run(model, batch, course):
    """The logits of the prompt, and of each token that a loop gives the model with the cache it got back.

    Unpadded, the loop is the plainest there is: no mask and no positions, which the model must count on by itself.
    """
    tokens = batch["input_ids"]
    inputs, shape = course.takes(model), (len(tokens), NEW_TOKENS)
    new = torch.randint(4, inputs["highest"], shape, generator=torch.Generator().manual_seed(course.seed)).to(
        tokens.device
    )
    # One more than is judged: the last token of a teacher-forcing batch is not looked at.
    whole = extended(batch, torch.cat([tokens, new, new[:, :1]], dim=1), takes_position_ids=False)
    given = with_positions(whole, model)
    if not is_padded(batch):
        given = {name: tensor for name, tensor in whole.items() if name != "attention_mask"}
    with course.during("forward"):
        logits = cached(model, given, [tokens.shape[1]] + [1] * NEW_TOKENS, inputs)
    return OneRun("logits", logits, whole, judged(whole, logits))
