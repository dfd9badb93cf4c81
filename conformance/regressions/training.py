"""Backward passes and what is trained: gradients, checkpointing, merged adapters."""

import torch

from conformance.lab import Lab, with_lora
from conformance.models.batches import make_batch
from matrix.axes import Dtype


def flash_checkpointing_with_cache(lab: Lab) -> None:
    """Gradient checkpointing while use_cache keeps its default: the recomputation met a cache that had grown."""
    dtype = Dtype.BFLOAT16
    model = lab.load("mistral", lab.flash_attention, dtype)
    model.gradient_checkpointing_enable()
    truth, eager = (lab.gradients(lab.reference("mistral", dtype, golden=golden)) for golden in (True, False))
    with lab.seeded(model):
        found = lab.gradients(model)
    lab.judge(
        "gradients under checkpointing",
        candidate=found,
        baseline=eager,
        golden=truth,
        attended=torch.ones(truth.shape[:2], dtype=torch.bool),
        dtype=dtype,
        gradients=True,
    )


def lora_merged_bfloat16_drifts(lab: Lab) -> None:
    """Merging a LoRA in bfloat16 rounds each weight once more: an error of the size of bfloat16's own."""
    dtype, batch = Dtype.BFLOAT16, make_batch("prefill", "left", 256, 0)
    model = with_lora(lab.load("llama", "eager", dtype))
    unmerged = lab.logits(model, batch)
    golden = lab.reference_logits(with_lora(lab.reference("llama", dtype, golden=True)), batch)
    lab.judge(
        "logits of the merged model",
        candidate=lab.logits(model.merge_and_unload(), batch),
        baseline=unmerged,
        golden=golden,
        attended=batch["attention_mask"].bool(),
        dtype=dtype,
    )
