"""Generated on from one prompt after another, and again after that. Scripts carry it along."""

import torch

from conformance.another import another
from conformance.decoding import generated
from conformance.workloads.generate import chosen_greedily

NEW_TOKENS = 8


def run(model, batch, course):
    """The logits and choices of each step the second time; a cache that is kept for the next call served others before.

    The other prompt comes first of all as well: what is made for a first call would be right for this one.
    """
    for _ in range(2):
        generated(model, another(batch), course, NEW_TOKENS)
        output = generated(model, batch, course, NEW_TOKENS)
    return chosen_greedily(model, batch, course, torch.stack(output.logits, dim=1), output.sequences)
