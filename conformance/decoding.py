"""Decoding with a cache, by hand and by `generate`. Scripts carry it along."""

import inspect

import torch
import transformers

from conformance.judging.references import ORDINARY
from conformance.models.batches import by_token, extended, judged, length_of, moved, others, takes_positions
from conformance.models.outputs import home
from conformance.spellings import cache_argument, first_cache, text_config

STEPS = 8  # decoded one by one
RESIDUAL = 16  # tokens that a quantised cache keeps as they are before it rounds them: it does so while 32 are decoded
# Some classes force or forbid tokens by default. A choice is held against the logits alone.
NOTHING_FORCED = {"forced_bos_token_id": None, "forced_eos_token_id": None, "suppress_tokens": None}
NOTHING_FORCED |= {"begin_suppress_tokens": None, "bad_words_ids": None, "no_repeat_ngram_size": 0}


def steps(batch):
    """How many tokens each call gets where the last STEPS of them come one by one."""
    return [length_of(batch) - STEPS] + [1] * STEPS


def cached(model, batch, parts, inputs, cache=None, adapt=lambda mask: mask, held=0):
    """The logits of consecutive calls with one cache, each with its share of the tokens, mask and positions.

    `inputs` is what the model takes: see conformance/models/inputs.py. `held` are the tokens that the cache holds
    already.
    """
    if len(parts) < 2 and not held:
        raise RuntimeError(f"{len(parts)} calls make no use of a cache")
    found, begin = [], held
    handed_on = cache_argument(model)
    cache = first_cache(model) if cache is None else cache
    if "decoder_input_ids" in batch:
        mask = batch.get("attention_mask")
        encoded = heard_by(model, batch)
    for part in parts:
        end = begin + part
        if "decoder_input_ids" in batch:
            given = {"encoder_outputs": encoded} | ({} if mask is None else {"attention_mask": mask})
            given["decoder_input_ids"] = batch["decoder_input_ids"][:, begin:end]
        else:
            told = ("input_ids", "position_ids", *by_token(batch))
            first = {name: 0 if name in inputs["whole"] else begin for name in told if name in batch}
            given = {name: batch[name][:, first[name] : end] for name in first}
            if begin == held or inputs["again"]:  # what the tokens stand for is looked at once, by most
                given |= others(batch)
            if "attention_mask" in batch:
                given["attention_mask"] = adapt(batch["attention_mask"][:, :end])
        output = model(**given, **{handed_on: cache}, use_cache=True)
        cache = getattr(output, handed_on, cache)
        found.append(output.logits)
        begin = end
    return torch.cat(found, dim=1)


class Rounded(transformers.DynamicCache):
    """A cache that rounds what it keeps: a call sees its own keys and values as they are, later calls what is left.

    Args:
        kept: what is left of keys or values, of shape (batch, heads, tokens, features).
    """

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        """Called by each layer."""
        own = key_states, value_states
        seen = super().update(*(self.kept(states) for states in own), layer_idx, *args, **kwargs)
        earlier = seen[0].shape[-2] - key_states.shape[-2]
        return tuple(torch.cat([all_[..., :earlier, :], new], -2) for all_, new in zip(seen, own, strict=True))


def rounding(course, begin):
    """An ordinary run of the cell's dtype whose cache rounds as the cell's does, for a OneRun; None if it does not.

    It is the measure of what such a cache may cost, and no truth: in bfloat16 a key that lies between two codes falls
    now on this one and now on that. The prompt of `begin` tokens is one call, then come RESIDUAL tokens a call: as many
    as a quantised cache of transformers keeps as they are.

    Raises:
        RuntimeError: when called, where the same calls with a cache that keeps all are off: a fault, and no measure.
    """
    if not course.does.rounds:
        return None

    def run(references, batch):
        new = batch["input_ids"].shape[1] - begin
        parts = [begin] + [min(RESIDUAL, new - first) for first in range(0, new, RESIDUAL)]

        def decoded(kept):
            def how(model):
                given = moved(batch, model.device, model.dtype)
                return home(cached(model, given, parts, course.takes(model), Rounded(kept)))

            return references.run(references.model(golden=False), how, False)

        truth, usual = references(batch, golden=True), references(batch, golden=False)
        where, whole = judged(batch, truth), decoded(lambda states: states).to(truth.device)
        off, known = (float((found - truth)[where].abs().double().mean()) for found in (whole, usual))
        if off > ORDINARY * known:
            raise RuntimeError(f"a cache that keeps all errs by {off:.3g}, a run without by {known:.3g}: no measure")
        return decoded(lambda states: course.does.kept(course.cell.cache, states)).to(truth.device)

    return run


def heard_by(model, batch):
    """What the decoder listens to."""
    heard = {name: tensor for name, tensor in batch.items() if not name.startswith("decoder")}
    encoder = model.get_encoder()
    if heard.keys() <= inspect.signature(encoder.forward).parameters.keys():
        return encoder(**heard)
    # Only the whole model puts together what its encoder hears, as of a picture and text.
    first = model(**heard, decoder_input_ids=batch["decoder_input_ids"][:, :1])
    return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=first.encoder_last_hidden_state)


def generated(model, batch, course, new_tokens, do_sample=False, **arguments):
    """What `generate` makes of a batch with the cell's kind of cache: its whole output, raw logits of each step too."""
    pad = getattr(model.generation_config, "pad_token_id", None)
    forced = {**NOTHING_FORCED, "suppress_tokens": placeholders(model, course) or None}
    if model.config.is_encoder_decoder and getattr(model.generation_config, "decoder_start_token_id", None) is None:
        forced["decoder_start_token_id"] = 0  # asked for, though the decoder is told its first tokens
    with course.during("generate"), course.watch.cache_of(model) as used:
        output = model.generate(
            **batch,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=do_sample,
            use_cache=True,
            pad_token_id=0 if pad is None else pad,
            output_logits=True,
            return_dict_in_generate=True,
            **forced,
            **course.does.generation_arguments(course.cell.cache),
            **arguments,
        )
    course.watch.cache(used[0] if used else output.past_key_values)
    return output


def forced_by(sequences, batch, model):
    """The teacher-forcing batch for what `generate` made of `batch`."""
    if model.config.is_encoder_decoder:
        return {**batch, "decoder_input_ids": sequences[:, :-1]}
    return extended(batch, sequences, takes_positions(model))


def banned_tokens(model):
    """The end-of-sequence tokens, which `min_new_tokens` keeps from being chosen."""
    end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if end is None else list(end) if isinstance(end, list) else [end]


def placeholders(model, course):
    """The tokens that stand for a picture or a sound: whoever chose one would have to show another."""
    inputs = course.takes(model)
    return list(range(inputs["highest"], text_config(model.config).vocab_size)) if inputs["noise"] else []


def regret(truth, chosen, banned):
    """How far the chosen tokens' true logits are below the best that was allowed, at most.

    `truth` is of shape (steps, vocabulary), `chosen` of shape (steps,).
    """
    allowed = truth.clone()
    allowed[:, banned] = float("-inf")
    picked = truth.gather(1, chosen.to(truth.device)[:, None])[:, 0]
    return float((allowed.amax(1) - picked).max())
