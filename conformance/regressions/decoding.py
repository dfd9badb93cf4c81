"""Decoding with caches that are larger than what they hold, and decoding for long."""

from typing import Any

import transformers

from conformance.lab import Lab
from conformance.models.batches import make_batch
from matrix.axes import Dtype, SdpaKernel


def flash_static_cache_unfilled_slots(lab: Lab) -> None:
    """Flash attention, left padding, and a static cache with empty slots at its end."""
    _decode_with_static_cache(lab, lab.flash_attention, Dtype.BFLOAT16, "left", 32)


def sdpa_static_cache_zeros_attended(lab: Lab) -> None:
    """Many new tokens: the empty slots outnumber the prompt at first."""
    for padding in ("none", "left"):
        _decode_with_static_cache(lab, "sdpa", Dtype.FLOAT32, padding, 96)


def cudnn_gqa_long_decode_degrades(lab: Lab) -> None:
    """Grouped key/value heads, 256 new tokens, the kernel pinned (the device's default one where there is no cuDNN)."""
    kernel = SdpaKernel.CUDNN if lab.device.type == "cuda" else SdpaKernel.FLASH
    model = lab.load("llama_long", "sdpa", Dtype.BFLOAT16)
    batch = make_batch("generate", "none", 256, 0)
    lab.decode("llama_long", model, Dtype.BFLOAT16, batch, tokens=256, kernel=kernel)


def _decode_with_static_cache(lab: Lab, attention: str, dtype: Dtype, padding: str, tokens: int) -> None:
    arguments: dict[str, Any] = {"cache_implementation": "static"}
    if hasattr(transformers.GenerationConfig(), "disable_compile"):
        arguments["disable_compile"] = True  # what is compiled is another row's concern, and takes a minute
    batch = make_batch("generate", padding, 256, 0)
    lab.decode("llama", lab.load("llama", attention, dtype), dtype, batch, tokens=tokens, **arguments)
