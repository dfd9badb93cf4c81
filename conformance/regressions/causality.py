"""Who sees whom: causal models that look ahead, and bidirectional ones that do not."""

from typing import Any

import torch

from conformance.lab import Batch, Lab, Violated, random_tokens
from conformance.models.batches import make_batch
from matrix.axes import Dtype

_LENGTH = 40


def falcon_alibi_sdpa_not_causal_without_mask(lab: Lab) -> None:
    """ALiBi and no attention_mask: the bias replaced the causal mask."""
    _must_be_causal(lab, lab.load("falcon_alibi", "sdpa"))


def falcon_alibi_eager_differs_from_sdpa(lab: Lab) -> None:
    """One checkpoint has one meaning: float64 eager and float64 SDPA agree to the last digits."""
    batch = make_batch("prefill", "none", 256, 0)
    eager, sdpa = (lab.logits(lab.load("falcon_alibi", attention).double(), batch) for attention in ("eager", "sdpa"))
    worst = float((eager - sdpa).abs().max())
    if not worst < 1e-3:
        raise Violated(f"float64 logits of eager and sdpa differ by up to {worst:.3g}")


def doge_sdpa_not_causal(lab: Lab) -> None:
    """Doge's dynamic mask with SDPA."""
    _must_be_causal(lab, lab.load("doge", "sdpa"))


def paged_sdpa_without_cache_bidirectional(lab: Lab) -> None:
    """An ordinary forward pass in the mode that continuous batching leaves behind."""
    _must_be_causal(lab, lab.load("llama", "paged|sdpa"))


def paged_eager_without_cache_bidirectional(lab: Lab) -> None:
    """The same with eager arithmetic."""
    _must_be_causal(lab, lab.load("llama", "paged|eager"))


def sdpa_is_causal_false_ignored(lab: Lab) -> None:
    """A causal model told to look both ways, with and without padding."""
    _must_look_ahead(lab, "sdpa", Dtype.FLOAT32)


def flash_is_causal_false_ignored(lab: Lab) -> None:
    """The same through flash attention."""
    _must_look_ahead(lab, lab.flash_attention, Dtype.FLOAT16)


def flash_4d_mask_crash(lab: Lab) -> None:
    """A mask of shape (batch, 1, queries, keys), as custom masks are given."""
    lab.isolated(_forward_with_4d_mask)


def _forward_with_4d_mask(lab: Lab) -> None:
    tokens = random_tokens(2, _LENGTH)
    causal = torch.ones(_LENGTH, _LENGTH, dtype=torch.bool).tril().expand(2, 1, -1, -1)
    attended = torch.ones_like(tokens, dtype=torch.bool)
    batch = {"input_ids": tokens, "attention_mask": causal}
    dtype = Dtype.BFLOAT16
    plain: Batch = {"input_ids": tokens}  # a causal mask says what the model does without one
    lab.judge(
        "logits under a 4-D causal mask",
        candidate=lab.logits(lab.load("llama", lab.flash_attention, dtype), batch),
        baseline=lab.reference_logits(lab.reference("llama", dtype, golden=False), plain),
        golden=lab.reference_logits(lab.reference("llama", dtype, golden=True), plain),
        attended=attended,
        dtype=dtype,
    )


def _must_be_causal(lab: Lab, model: Any) -> None:
    reached = lab.reach(model, _LENGTH - 1, _LENGTH)
    if reached != [0]:
        raise Violated(f"{len(reached) - 1} positions before the last token changed with it: {reached[:5]}...")


def _must_look_ahead(lab: Lab, attention: str, dtype: Dtype) -> None:
    model = lab.load("llama", attention, dtype)
    # The three ways to ask: the config (transformers 5), the modules (4.x), the call (as reported).
    model.config.is_causal = False
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    padded = torch.ones(8, _LENGTH, dtype=torch.long)
    padded[:, 0] = 0
    for mask in (None, padded.to(lab.device)):
        reached = lab.reach(model, _LENGTH - 1, _LENGTH, attention_mask=mask, is_causal=False)
        unpadded = _LENGTH if mask is None else _LENGTH - 1
        if len(reached) < unpadded:
            raise Violated(
                f"is_causal=False, {'no' if mask is None else 'padded'} mask: only {len(reached)} of {unpadded} "
                f"positions see the last token"
            )
