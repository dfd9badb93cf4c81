"""Several documents in one row, under a mask of ones. Scripts carry it along."""

import torch

from conformance.packing import documents, in_one_row, judged_apart


def run(model, batch, course):
    """Their logits, by a call without cache whose mask says what is true: there is no padding."""
    apart = documents(batch)
    mask = torch.ones_like(in_one_row(apart)["input_ids"])
    return judged_apart(model, apart, course, use_cache=False, attention_mask=mask)
