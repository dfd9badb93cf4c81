"""Greedy decoding with cache. Scripts carry it along."""

import torch

from conformance.decoding import banned_tokens, forced_by, generated, placeholders, regret, rounding
from conformance.judging.found import OneRun

NEW_TOKENS = 32


def run(model, batch, course):
    """The logits of each step, held against one teacher-forced pass over the tokens chosen, and so is each choice."""
    output = generated(model, batch, course, NEW_TOKENS)
    logits = torch.stack(output.logits, dim=1)
    rounded = rounding(course, batch["input_ids"].shape[1] if course.does.rounds else 0)
    return chosen_greedily(model, batch, course, logits, output.sequences, rounding=rounded)


def chosen_greedily(model, batch, course, logits, sequences, places=None, **known):
    """The logits of the steps that chose these places of the sequences, by default the last, and each choice.

    All are held against one teacher-forced pass over the sequences.
    """
    if places is None:
        chosen, pick = sequences[:, -logits.shape[1] :], lambda found: found[:, -logits.shape[1] :]
    else:
        chosen, pick = sequences[:, places], lambda found: found[:, [place - 1 for place in places]]
    banned = banned_tokens(model) + placeholders(model, course)
    return OneRun(
        "decoded logits",
        logits,
        forced_by(sequences, batch, model),
        torch.ones(logits.shape[:2], dtype=torch.bool),
        pick=pick,
        consequences={"regret": lambda truth: regret(truth, chosen.flatten(), banned)},
        chosen=chosen,
        **known,
    )
