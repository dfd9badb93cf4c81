"""Continuous batching. Scripts carry it along."""

import torch
import transformers

from conformance.decoding import forced_by, regret
from conformance.judging.found import OneRun, at_home
from conformance.spellings import batching_config

BATCHED_TOKENS = 16
TIMES = 2  # each row: whoever comes later may share what is kept of the same prompt
# Less than the requests need, so that some wait and prompts are taken in parts.
ROOM = {"num_blocks": 8, "page_size": 16, "max_batch_tokens": 32}
# FlashAttention takes no pages but of 256 tokens, of which a request fills a part of one.
FLASH_ROOM = {"num_blocks": 5, "page_size": 256, "max_batch_tokens": 32}


def run(model, batch, course):
    """Each token and its log-probability, held against one teacher-forced pass over what each request got.

    Raises:
        RuntimeError: a request failed or got another number of tokens, or none had company.
    """
    batch = at_home(batch)
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    prompts = [tokens[own].tolist() for tokens, own in zip(batch["input_ids"], mask, strict=True)] * TIMES
    company = []

    def look(module, args, kwargs):
        course.watch.cache(kwargs.get("cache", kwargs.get("past_key_values")))
        company.append(len(kwargs["cu_seq_lens_q"]) - 1)

    handle = model.register_forward_pre_hook(look, with_kwargs=True)
    asked = {"max_new_tokens": BATCHED_TOKENS, "do_sample": False, "eos_token_id": -1, "pad_token_id": 0}
    attention = model.config._attn_implementation
    with course.during("generate"):
        # As 5.17's warning asks: it takes flash attention for eager and sdpa wherever flash is installed.
        model.set_attn_implementation(f"paged|{attention}")
        found = model.generate_batch(
            inputs=prompts,
            generation_config=transformers.GenerationConfig(**asked),
            continuous_batching_config=batching_config(
                **(FLASH_ROOM if attention.startswith("flash") else ROOM), return_logprobs=True
            ),
            progress_bar=False,
            warmup=False,
        )
        answers = list(found.values())
        failed = [answer.error for answer in answers if answer.error is not None]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(prompts)} requests failed: {failed[0]}")
        told = [len(answer.generated_tokens) for answer in answers]
        if told != [BATCHED_TOKENS] * len(prompts):
            raise RuntimeError(f"{len(prompts)} requests for {BATCHED_TOKENS} tokens each got {told}")
    handle.remove()
    model.set_attn_implementation(attention)
    if max(company, default=0) < 2:
        raise RuntimeError(f"{len(company)} calls of the model took one request each: nothing was batched")
    chosen = torch.tensor([answer.generated_tokens for answer in answers])
    repeated = {name: tensor.repeat(TIMES, 1) for name, tensor in batch.items()}
    sequences = torch.cat([repeated["input_ids"], chosen], dim=1)
    return OneRun(
        "log-probabilities",
        torch.tensor([answer.logprobs for answer in answers])[..., None],
        forced_by(sequences, repeated, model),
        torch.ones(chosen.shape, dtype=torch.bool),
        pick=lambda found: found[:, -BATCHED_TOKENS:],
        said=lambda found: found.double().log_softmax(-1).gather(-1, chosen.to(found.device)[..., None]),
        consequences={"regret": lambda truth: regret(truth, chosen.flatten(), [])},
        chosen=chosen,
    )
