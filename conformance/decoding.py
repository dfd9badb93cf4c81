"""Decoding with a cache, by hand and by `generate`. Scripts carry it along."""

import torch

from conformance.models.batches import by_token, extended, length_of, others, takes_positions
from conformance.spellings import cache_argument, first_cache

STEPS = 8  # decoded one by one
# Some classes force or forbid tokens by default. A choice is held against the logits alone.
NOTHING_FORCED = {"forced_bos_token_id": None, "forced_eos_token_id": None, "suppress_tokens": None}
NOTHING_FORCED |= {"begin_suppress_tokens": None, "bad_words_ids": None, "no_repeat_ngram_size": 0}


def steps(batch):
    """How many tokens each call gets where the last STEPS of them come one by one."""
    return [length_of(batch) - STEPS] + [1] * STEPS


def cached(model, batch, parts, cache=None, adapt=lambda mask: mask):
    """The logits of consecutive calls with one cache, each with its share of the tokens, mask and positions."""
    if len(parts) < 2:
        raise RuntimeError(f"{len(parts)} calls make no use of a cache")
    found, begin = [], 0
    handed_on = cache_argument(model)
    cache = first_cache(model) if cache is None else cache
    if "decoder_input_ids" in batch:
        mask = batch.get("attention_mask")
        heard = {name: tensor for name, tensor in batch.items() if not name.startswith("decoder")}
        encoded = model.get_encoder()(**heard)
    for part in parts:
        end = begin + part
        if "decoder_input_ids" in batch:
            given = {"encoder_outputs": encoded} | ({} if mask is None else {"attention_mask": mask})
            given["decoder_input_ids"] = batch["decoder_input_ids"][:, begin:end]
        else:
            told = ("input_ids", "position_ids", *by_token(batch))
            given = {name: batch[name][:, begin:end] for name in told if name in batch}
            if begin == 0:  # what the tokens stand for is looked at once
                given |= others(batch)
            if "attention_mask" in batch:
                given["attention_mask"] = adapt(batch["attention_mask"][:, :end])
        output = model(**given, **{handed_on: cache}, use_cache=True)
        cache = getattr(output, handed_on, cache)
        found.append(output.logits)
        begin = end
    return torch.cat(found, dim=1)


def generated(model, batch, course, new_tokens, **arguments):
    """What `generate` makes of a batch with the cell's kind of cache: its whole output, raw logits of each step too."""
    pad = getattr(model.generation_config, "pad_token_id", None)
    with course.during("generate"):
        output = model.generate(
            **batch,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            use_cache=True,
            pad_token_id=0 if pad is None else pad,
            output_logits=True,
            return_dict_in_generate=True,
            **NOTHING_FORCED,
            **course.does.generation_arguments(),
            **arguments,
        )
    course.watch.cache(output.past_key_values)
    return output


def forced_by(sequences, batch, model):
    """The teacher-forcing batch for what `generate` made of `batch`."""
    if model.config.is_encoder_decoder:
        return {**batch, "decoder_input_ids": sequences[:, :-1]}
    return extended(batch, sequences, takes_positions(model))


def banned_tokens(model):
    """The end-of-sequence tokens, which `min_new_tokens` keeps from being chosen."""
    end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return () if end is None else tuple(end) if isinstance(end, list) else (end,)


def regret(truth, chosen, banned):
    """How far the chosen tokens' true logits are below the best that was allowed, at most.

    `truth` is of shape (steps, vocabulary), `chosen` of shape (steps,).
    """
    allowed = truth.clone()
    allowed[:, list(banned)] = float("-inf")
    picked = truth.gather(1, chosen.to(truth.device)[:, None])[:, 0]
    return float((allowed.amax(1) - picked).max())
