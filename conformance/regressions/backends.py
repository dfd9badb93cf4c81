"""A backend that was asked for, and another that answered."""

import tempfile
from typing import Any
from unittest import mock

import torch
import transformers
from transformers import modeling_flash_attention_utils

from conformance.lab import Lab, Violated

_TEXT = {
    "model_type": "llama",
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
_VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 16,
}


def flash_attention_3_silently_replaced(lab: Lab) -> None:
    """Either the package is here and its kernel runs, or the request is refused."""
    lab.cell("llama-bfloat16-flash_attention_3-prefill")


def hub_attention_asked_twice(lab: Lab) -> None:
    """GPT-OSS asked for FlashAttention-2 turns to a kernel of the hub: where that is refused, it is refused again."""
    said = []
    with mock.patch.object(modeling_flash_attention_utils, "_loaded_implementation", None):
        for _ in range(2):
            try:
                model = lab.load("gpt_oss", "flash_attention_2")
                with torch.no_grad():
                    model(torch.arange(8, device=lab.device)[None])
                said.append("it runs")
            except Exception as error:  # whatever it says, it is to say it again
                said.append(f"{type(error).__name__}: {error}")
    if said[0] != said[1]:
        raise Violated(f"asked once: {said[0]}; asked again: {said[1]}")


def flash_attention_4_gqa_wrong(lab: Lab) -> None:
    """Grouped heads and a causal mask: wrong values on one generation of GPUs, zeros on another."""
    for padding in ("", "-left"):
        lab.cell(f"llama-bfloat16-flash_attention_4{padding}-prefill")


def gemma2_sdpa_softcap_lost(lab: Lab) -> None:
    """A soft cap that bites (1 instead of 50): SDPA has none, so it must refuse or be right."""
    for padding in ("none", "left"):
        cell = (
            "gemma2_softcap-float32-sdpa-prefill" if padding == "none" else "gemma2_softcap-float32-sdpa-left-prefill"
        )
        lab.cell(cell)


def vision_tower_keeps_other_backend(lab: Lab) -> None:
    """A composite model loaded with one backend: each part says that it uses it."""
    with tempfile.TemporaryDirectory() as folder:
        config = transformers.AutoConfig.for_model("llava", text_config=_TEXT, vision_config=_VISION)
        transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
        for attention in ("eager", "sdpa"):
            model = transformers.LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation=attention)
            _must_use(model, attention)


def _must_use(model: Any, attention: str) -> None:
    found = {
        name or "the model": module.config._attn_implementation
        for name, module in model.named_modules()
        if hasattr(module, "config")
    }
    other = {name: used for name, used in found.items() if used != attention}
    if other or not any("vision" in name for name in found):
        raise Violated(f"{attention} was asked for; of {len(found)} parts {other or 'none is a vision tower'}")
