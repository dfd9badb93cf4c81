"""Decoding with caches that are larger than what they hold, decoding for long, and requests in flight."""

from typing import Any

import torch
import transformers

from conformance.lab import Lab, Violated, random_tokens
from conformance.models.batches import make_batch
from conformance.spellings import batching_config
from matrix.axes import Dtype, SdpaKernel

_NEW, _BIAS, _LOUD = 24, 40.0, 3


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
                continuous_batching_config=batching_config(num_blocks=32, page_size=16, max_batch_tokens=64),
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


def llama_leftover_window_in_cache(lab: Lab) -> None:
    """A prompt that is longer than the window: layers attend to all of it, and the cache forgets."""
    lab.cell("llama_leftover_window-float32-sdpa-generate")


def hqq_cache_4_bits_key_biases(lab: Lab) -> None:
    """Two of 32 features of the keys are large in every token, as in Qwen2. A quarter of the choices may change."""
    model = lab.load("qwen2", "sdpa")
    for name, parameter in model.named_parameters():
        if name.endswith("k_proj.bias"):
            parameter.data.zero_()
            parameter.data[_LOUD], parameter.data[_LOUD + 17] = _BIAS, -_BIAS
    tokens = random_tokens(1, 64).to(lab.device)
    config = {"backend": "hqq", "nbits": 4, "residual_length": 16, "q_group_size": 16, "axis_key": 1, "axis_value": 1}
    with torch.no_grad():
        output = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=_NEW,
            min_new_tokens=_NEW,
            do_sample=False,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
            cache_implementation="quantized",
            cache_config=config,
        )
    truth = lab.logits(model, {"input_ids": output.sequences[:, :-1]}, use_cache=False)[:, -_NEW:]
    kept = int((torch.stack(output.logits, 1).argmax(-1) == truth.argmax(-1)).sum())
    if kept < 0.75 * _NEW:
        raise Violated(f"{kept} of {_NEW} choices are those of the same model without a cache")


def mamba_beams_keep_their_states(lab: Lab) -> None:
    """Four beams, whose states lie in `cache_params` and not in `past_key_values`; each is told by what it holds."""
    lab.cell("mamba-float32-eager-left-beam")


def recurrent_layers_see_padding_of_one_row(lab: Lab) -> None:
    """Rows of a left-padded batch one at a time: the mask was looked at where there are several."""
    for name in ("qwen3_5", "bamba", "falcon_h1"):
        lab.cell(f"{name}-float32-eager-left-single_row")


def qwen3_5_steps_from_another_state(lab: Lab) -> None:
    """A prompt that fills no block of the delta rule, then token by token from the state that it left."""
    lab.cell("qwen3_5-float32-eager-continued")


def assisted_draft_beyond_its_window(lab: Lab) -> None:
    """The draft's cache takes five tokens one by one, beyond a window of 16, before it is cropped."""
    for attention in ("eager", "sdpa"):
        lab.cell(f"mistral-float32-{attention}-left-assisted")


def assisted_with_a_static_cache(lab: Lab) -> None:
    """Drafted tokens that are refused leave the cache again."""
    lab.cell("llama-float32-eager-left-static-assisted")


def t5_generates_without_its_mask(lab: Lab) -> None:
    """The encoder's padding, as cross attention sees it in prefill and while decoding."""
    for attention in ("eager", "sdpa"):
        lab.cell(f"t5-float32-{attention}-right-generate")


def recurrent_gemma_prompt_beyond_its_window(lab: Lab) -> None:
    """A prompt that is longer than the window of 16, then more: its mask was not cut, its keys were."""
    lab.cell("recurrent_gemma-float32-eager-generate")


def _decode_with_static_cache(lab: Lab, attention: str, dtype: Dtype, padding: str, tokens: int) -> None:
    arguments: dict[str, Any] = {"cache_implementation": "static"}
    if hasattr(transformers.GenerationConfig(), "disable_compile"):
        arguments["disable_compile"] = True  # what is compiled is another row's concern, and takes a minute
    batch = make_batch("generate", padding, 256, 0)
    lab.decode("llama", lab.load("llama", attention, dtype), dtype, batch, tokens=tokens, **arguments)
