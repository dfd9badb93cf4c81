"""Two runs of one model that must agree, whatever is true. Needs only torch: reproducing scripts carry it along."""

import inspect

import torch

STEPS = 8  # decoded one by one
CHUNK = 17  # no multiple of any block size
SPARE_SLOTS = 23  # of a static cache, never filled
CHANGED = 11  # last tokens, in the causality probe


def with_positions(batch, model):
    """The batch with the positions that `generate` would use, so that padding does not shift them."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return dict(batch)
    return {**batch, "position_ids": (batch["attention_mask"].cumsum(-1) - 1).clamp_min(0)}


def judged(batch):
    """Where logits of shape (batch, positions, vocabulary) are judged: at all tokens, of an encoder at the attended."""
    if "decoder_input_ids" in batch:
        return torch.ones_like(batch["decoder_input_ids"], dtype=torch.bool)
    return batch["attention_mask"].bool()


def padding_invariance(model, batch):
    """A padded batch, and each row alone without its padding."""
    one = model(**batch).logits
    other = torch.zeros_like(one)
    for row, mask in enumerate(batch["attention_mask"].bool()):
        alone = {
            name: tensor[row : row + 1] if name.startswith("decoder") else tensor[row : row + 1, mask]
            for name, tensor in batch.items()
        }
        where = slice(None) if "decoder_input_ids" in batch else mask
        other[row, where] = model(**alone).logits[0]
    return one, other, judged(batch)


def batch_permutation(model, batch):
    """The rows in order, and in another."""
    other = model(**{name: tensor.roll(1, 0) for name, tensor in batch.items()}).logits.roll(-1, 0)
    return model(**batch).logits, other, judged(batch)


def causality(model, batch):
    """The batch, and the same with other tokens at the end: what stands before them must not change."""
    where = judged(batch)
    where[:, -CHANGED:] = False
    if batch["attention_mask"].all():  # not asked to mask, a model must be causal of its own accord
        batch = {name: tensor for name, tensor in batch.items() if name != "attention_mask"}
    name = "decoder_input_ids" if "decoder_input_ids" in batch else "input_ids"
    tokens = batch[name].clone()
    tokens[:, -CHANGED:] = (tokens[:, -CHANGED:] + 1) % model.config.get_text_config().vocab_size
    return model(**batch).logits, model(**{**batch, name: tokens}).logits, where


def stepwise(model, batch):
    """All tokens at once, and the last STEPS of them one by one with a cache."""
    return model(**batch).logits, cached(model, batch, steps(batch)), judged(batch)


def chunked_prefill(model, batch):
    """All tokens at once, and in chunks of CHUNK with a cache."""
    length = judged(batch).shape[1]
    parts = [min(CHUNK, length - begin) for begin in range(0, length, CHUNK)]
    return model(**batch).logits, cached(model, batch, parts), judged(batch)


def static_cache(model, batch, make_cache):
    """Step by step with a DynamicCache, and with a StaticCache that has slots to spare.

    `make_cache(model, rows, slots)` gives that cache and what its caller must do to a mask.
    """
    rows, length = judged(batch).shape
    cache, adapt = make_cache(model, rows, length + SPARE_SLOTS)
    return cached(model, batch, steps(batch)), cached(model, batch, steps(batch), cache, adapt), judged(batch)


def steps(batch):
    """How many tokens each call gets where the last STEPS of them come one by one."""
    return [judged(batch).shape[1] - STEPS] + [1] * STEPS


def cached(model, batch, parts, cache=None, adapt=lambda mask: mask):
    """The logits of consecutive calls with one cache, each with its share of the tokens."""
    found, begin = [], 0
    if "decoder_input_ids" in batch:
        mask = batch["attention_mask"]
        encoded = model.get_encoder()(input_ids=batch["input_ids"], attention_mask=mask)
    for part in parts:
        end = begin + part
        if "decoder_input_ids" in batch:
            given = {"encoder_outputs": encoded, "attention_mask": mask}
            given["decoder_input_ids"] = batch["decoder_input_ids"][:, begin:end]
        else:
            given = {"input_ids": batch["input_ids"][:, begin:end]}
            given["attention_mask"] = adapt(batch["attention_mask"][:, :end])
            if "position_ids" in batch:
                given["position_ids"] = batch["position_ids"][:, begin:end]
        output = model(**given, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        found.append(output.logits)
        begin = end
    return torch.cat(found, dim=1)
