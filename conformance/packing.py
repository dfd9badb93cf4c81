"""Several documents in one row, without padding. Scripts carry it along."""

import torch

from conformance.judging.found import OneRun
from conformance.models.batches import by_token
from conformance.models.outputs import forward


def documents(batch):
    """The rows of a batch without padding, cut to different lengths: each as long as its mask, behind which is more."""
    rows, length = batch["input_ids"].shape
    ends = length - torch.arange(rows) * (length // rows)
    mask = (torch.arange(length)[None] < ends[:, None]).long()
    return {**batch, "attention_mask": mask.to(batch["input_ids"].device)}


def in_one_row(apart):
    """The documents one after another, and the positions that tell them apart: each counts from 0."""
    mask = apart["attention_mask"].bool()
    row = {name: apart[name][mask][None] for name in ("input_ids", *by_token(apart))}
    return {**row, "position_ids": (mask.cumsum(-1) - 1)[mask][None]}


def bounds_of(apart):
    """Where each document begins and ends, as kernels for packed rows are told: of shape (documents + 1), in int32."""
    lengths = apart["attention_mask"].sum(-1)
    bounds = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
    longest = int(lengths.max())
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}


def judged_apart(model, apart, course, **more):
    """The logits of all documents in one row, each held against the document alone; `more` is what the call says."""
    with course.during("forward"):
        (packed,) = forward(model, {**in_one_row(apart), **more})
    mask = apart["attention_mask"].bool()
    logits = packed.new_zeros((*mask.shape, packed.shape[-1]))
    logits[mask] = packed
    return OneRun("logits", logits, apart, mask)
