"""A batch of what a model takes, be it tokens, pixels or sound, made from a description. Scripts carry it along."""

import torch

# What a model may take; here it takes nothing. `conformance.zoo.inputs` finds out what each does.
NOTHING = {
    "tokens": False,  # whether it has input_ids
    "highest": 0,  # all ids below it, from 4 on, are plain tokens
    "mask": False,  # whether it is told what is padding
    "decoder": False,  # whether it has decoder_input_ids
    "prefix": [],  # ids before each row's own
    "by_token": {},  # name -> values at the prefix, and the one elsewhere
    "noise": {},  # name -> shape of a row's
    "stamped": {},  # name -> columns that are written over its noise
    "constant": {},  # name -> value of a row
    "frames": None,  # sound that a mask is over: its name and the axis
    "arguments": {},  # name -> value
    "output": "logits",
    "positions": "none",  # what dimension 1 of the output is
    "cache": True,  # whether its forward pass is given what it made before
    "again": False,  # whether each call with a cache is given pictures and sounds again
    "whole": [],  # of what is said by token, what such a call is told of all tokens so far
    "note": "",
}


def made(spec, lengths, padding, pad_token=0, decoder_tokens=0, seed=1):
    """The batch, on the CPU: row i holds lengths[i] tokens of its own, or that part of the longest sound, if padded.

    All rows begin with the prefix of the description, behind the padding if that is on the left.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, longest = len(lengths), max(lengths)
    owns = [longest] * rows if padding == "none" else list(lengths)
    batch = {}
    if spec["tokens"]:
        tokens = torch.randint(4, spec["highest"], (rows, longest), generator=generator)
        batch.update(tokens_with_prefix(spec, tokens, owns, padding, pad_token))
    if spec["decoder"] and decoder_tokens:
        shape = (rows, decoder_tokens)
        batch["decoder_input_ids"] = torch.randint(4, spec["highest"], shape, generator=generator)
    for name, (first, *others) in spec["noise"].items():
        batch[name] = torch.randn(rows * first, *others, generator=generator)
    for name, columns in spec["stamped"].items():
        values = torch.tensor(columns, dtype=torch.float32).repeat(rows, 1, 1)
        batch[name][..., : values.shape[-1]] = values
    for name, value in spec["constant"].items():
        one = torch.tensor(value)
        batch[name] = one.repeat(rows, *[1] * (one.dim() - 1))
    if spec["frames"]:
        batch.update(sound_with_mask(batch, spec, [own / longest for own in owns], padding))
    return {**batch, **spec["arguments"]}


def tokens_with_prefix(spec, tokens, owns, padding, pad_token):
    """The prefix and each row's own tokens, with the mask and what else there is for each token."""
    rows, longest = tokens.shape
    prefix = torch.tensor(spec["prefix"], dtype=torch.int64)
    whole = torch.full((rows, len(prefix) + longest), pad_token)
    mask = torch.zeros_like(whole)
    others = {}
    for name, values in spec["by_token"].items():
        other = torch.tensor(values)
        others[name] = other[-1].expand(*whole.shape, *other.shape[1:]).clone()
    for row, own in enumerate(owns):
        first = longest - own if padding == "left" else 0
        last = first + len(prefix) + own
        whole[row, first:last] = torch.cat([prefix, tokens[row, first : first + own]])
        mask[row, first:last] = 1
        for name, values in spec["by_token"].items():
            others[name][row, first : first + len(prefix)] = torch.tensor(values)[:-1]
    batch = {"input_ids": whole, "attention_mask": mask} if spec["mask"] else {"input_ids": whole}
    return {**batch, **others}


def sound_with_mask(batch, spec, parts, padding):
    """Sound that is silent beyond its part of the longest, with the mask that says so."""
    name, axis = spec["frames"]
    sound = batch[name]
    frames = sound.shape[axis]
    mask = torch.ones(len(sound), frames, dtype=torch.int64)
    for row, part in enumerate(parts if padding == "right" else []):
        mask[row, round(part * frames) :] = 0
    shape = [len(sound), *[1] * (axis - 1), frames, *[1] * (sound.dim() - axis - 1)]
    return {name: sound * mask.reshape(shape), "attention_mask": mask}
