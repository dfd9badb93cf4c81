"""Decoding with caches that are larger than what they hold, decoding for long, and requests in flight."""

from typing import Any

import torch
import transformers

from conformance.lab import Lab, Violated, random_tokens
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


def generate_batch_min_new_tokens_ignored(lab: Lab) -> None:
    """Nearly every token would end a request, and none may before there are 12."""
    _as_generate_does(lab, min_new_tokens=12, eos_token_id=list(range(3, 250)))


def generate_batch_no_repeat_ngram_fails(lab: Lab) -> None:
    """No token twice: what was said before must be known."""
    _as_generate_does(lab, no_repeat_ngram_size=1)


def generate_batch_repetition_penalty_of_one_token(lab: Lab) -> None:
    """A penalty for whatever was said before, the last token and all others."""
    _as_generate_does(lab, repetition_penalty=5.0)


def _as_generate_does(lab: Lab, **shaping: Any) -> None:
    """Two prompts in flight get the tokens that `generate` gives each alone; without what shapes them they must, too.

    Raises:
        Violated: a request failed, or got others.
    """
    model = lab.load("llama", "sdpa")
    prompts = [random_tokens(1, 16, 3), random_tokens(1, 9, 5).repeat(1, 2)]
    for asked in ({}, shaping):
        named = ", ".join(asked) or "greedily"
        known = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": -1, **asked}
        with torch.no_grad(), lab.seeded(model):
            wanted = [
                model.generate(prompt.to(lab.device), attention_mask=torch.ones_like(prompt).to(lab.device), **known)[
                    0, prompt.shape[1] :
                ].tolist()
                for prompt in prompts
            ]
            answers = model.generate_batch(
                inputs=[prompt[0].tolist() for prompt in prompts],
                generation_config=transformers.GenerationConfig(**known),
                continuous_batching_config=transformers.generation.ContinuousBatchingConfig(
                    num_blocks=32, page_size=16, max_batch_tokens=64, auto_switch_to_flash=False
                ),
                progress_bar=False,
                warmup=False,
            ).values()
        failed = [str(answer.error) for answer in answers if answer.error is not None]
        if failed:
            raise Violated(f"{named}: {len(failed)} of 2 requests failed: {failed[0]}")
        found = [answer.generated_tokens for answer in answers]
        if found != wanted:
            right = [sum(map(int.__eq__, *pair)) for pair in zip(found, wanted, strict=True)]
            made = [len(tokens) for tokens in found]
            raise Violated(f"{named}: {right} of 12 tokens each are those of generate, {made} were made")


def _decode_with_static_cache(lab: Lab, attention: str, dtype: Dtype, padding: str, tokens: int) -> None:
    arguments: dict[str, Any] = {"cache_implementation": "static"}
    if hasattr(transformers.GenerationConfig(), "disable_compile"):
        arguments["disable_compile"] = True  # what is compiled is another row's concern, and takes a minute
    batch = make_batch("generate", padding, 256, 0)
    lab.decode("llama", lab.load("llama", attention, dtype), dtype, batch, tokens=tokens, **arguments)
