"""Padded batches: garbage or NaN in rows that carry padding. Every row is judged."""

from conformance.lab import Lab
from conformance.models.batches import make_batch
from matrix.axes import Dtype


def mistral_flash_left_padding_garbage(lab: Lab) -> None:
    """Left padding, unequal lengths, longer than the window, decoded with a cache."""
    lab.cell(f"mistral-float16-{lab.flash_attention}-left-generate")


def gpt2_flash_causal_dropped_by_mask(lab: Lab) -> None:
    """A padded batch reached the kernel without its causal flag."""
    for padding in ("left", "right"):
        lab.cell(f"gpt2-bfloat16-{lab.flash_attention}-{padding}-prefill")
    lab.cell(f"gpt2-bfloat16-{lab.flash_attention}-left-generate")


def gemma2_sdpa_padding_nan(lab: Lab) -> None:
    """Hybrid layers of full attention and windows, padded on either side."""
    for padding in ("left", "right"):
        lab.cell(f"gemma2-bfloat16-sdpa-{padding}-prefill")


def bert_sdpa_bfloat16_padding_nan(lab: Lab) -> None:
    """An encoder, padded on either side."""
    for padding in ("left", "right"):
        lab.cell(f"bert-bfloat16-sdpa-{padding}-prefill")


def sdpa_kernel_padding_nan(lab: Lab) -> None:
    """NaN from one kernel and none from another: each is pinned in turn."""
    for kernel in lab.masked_kernels:
        lab.cell(f"llama-bfloat16-sdpa-{kernel}-left-prefill")


def gemma4_float16_left_padding_nan(lab: Lab) -> None:
    """One forward pass; the report's NaN came in exactly the rows that carry left padding."""
    batch = make_batch("prefill", "left", 256, 0)
    lab.against_eager("gemma4", "sdpa", Dtype.FLOAT16, batch)
