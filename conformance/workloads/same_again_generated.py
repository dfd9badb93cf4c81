"""Generated on from one prompt after another, and again after that. Scripts carry it along."""

import torch

from conformance.another import another
from conformance.decoding import banned_tokens, forced_by, generated, placeholders, regret
from conformance.judging.found import OneRun

NEW_TOKENS = 8


def run(model, batch, course):
    """The logits and choices of each step the second time; a cache that is kept for the next call served others before.

    The other prompt comes first of all as well: what is made for a first call would be right for this one.
    """
    for _ in range(2):
        generated(model, another(batch), course, NEW_TOKENS)
        output = generated(model, batch, course, NEW_TOKENS)
    logits = torch.stack(output.logits, dim=1)
    chosen, banned = output.sequences[:, -NEW_TOKENS:], banned_tokens(model) + placeholders(model, course)
    return OneRun(
        "decoded logits",
        logits,
        forced_by(output.sequences, batch, model),
        torch.ones(logits.shape[:2], dtype=torch.bool),
        pick=lambda found: found[:, -NEW_TOKENS:],
        consequences={"regret": lambda truth: regret(truth, chosen.flatten(), banned)},
        chosen=chosen,
    )
