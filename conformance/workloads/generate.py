"""Greedy decoding with cache. Scripts carry it along."""

import torch

from conformance.decoding import banned_tokens, forced_by, generated, placeholders, regret, rounding
from conformance.judging.found import OneRun

NEW_TOKENS = 32


def run(model, batch, course):
    """The logits of each step, held against one teacher-forced pass over the tokens chosen, and so is each choice."""
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
        rounding=rounding(course, batch["input_ids"].shape[1] if course.does.rounds else 0),
    )
