"""What goes into a model: uneven batches, padded on either side. Scripts carry it along."""

import inspect

import torch
import transformers

from conformance.models.inputs import NOTHING, made
from conformance.spellings import text_config

# Longer than the sliding windows of the fixtures and than kernels' blocks of 64 and 128; the padded
# rows are judged like all others, and the shortest row is shorter than a block.
LENGTHS = {"prefill": (144, 131, 65, 9), "generate": (48, 41, 33, 7), "continue": (13, 11, 7, 3)}
DECODER_TOKENS = 40
FEWEST_TOKENS = 12  # different ones, in the beginnings of the texts below: fewer are no text to judge a model by
TEXTS = (
    "The north wind and the sun were disputing which was the stronger, when a traveler came along wrapped in a warm "
    "cloak. They agreed that the one who first succeeded in making the traveler take his cloak off should win.",
    "A fox one day spied a beautiful bunch of ripe grapes hanging from a vine trained along the branches of a tree.",
    "The cat sat by the door and waited.",
    "Once",
)
# What a model takes of whom nothing else is known, beside the ids that are plain tokens.
PLAIN = {**NOTHING, "tokens": True, "mask": True, "positions": "tokens"}
TOKENS = ("input_ids", "attention_mask", "position_ids", "decoder_input_ids")


def inputs_of(architecture, config):
    """What goes into a model of the architecture: see conformance/models/inputs.py."""
    if architecture.inputs:
        return architecture.inputs
    known = {**PLAIN, "highest": text_config(config).vocab_size}
    return known | {"decoder": True, "positions": "decoder"} if architecture.kind == "encoder_decoder" else known


def make_batch(inputs, padding, vocabulary, pad_token, decoder_tokens=0, seed=1):
    """Token ids and mask of shape (4, longest), int64; row i holds LENGTHS[inputs][i] tokens if padded.

    With `decoder_tokens` there are `decoder_input_ids` of that length too, never padded.
    """
    spec = {**PLAIN, "highest": vocabulary, "decoder": bool(decoder_tokens)}
    return made(spec, LENGTHS[inputs], padding, pad_token, decoder_tokens, seed)


def extended(batch, sequences, takes_position_ids):
    """The teacher-forcing batch for what `generate` made of `batch`, with the positions that it used.

    `sequences` is the whole output of a decoder: prompt, then new tokens.
    """
    new = sequences.shape[1] - batch["input_ids"].shape[1]
    forced = {**others(batch), "input_ids": sequences[:, :-1]}
    if "attention_mask" in batch:
        mask = batch["attention_mask"]
        forced["attention_mask"] = mask = torch.cat([mask, mask.new_ones(len(sequences), new - 1)], dim=1)
    for name in by_token(batch):
        last = batch[name][:, -1:]
        forced[name] = torch.cat([batch[name], last.expand(-1, new - 1, *last.shape[2:])], dim=1)
    if takes_position_ids and "attention_mask" in batch and not others(batch):
        forced["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
    return forced


def others(batch):
    """What of a batch is neither tokens nor said of them: pictures, sounds, and where they are."""
    tokens = {*TOKENS, *by_token(batch)}
    return {name: tensor for name, tensor in batch.items() if name not in tokens}


def tensors_of(batch):
    """The names of its tensors: some classes are also told plain values."""
    return [name for name, value in batch.items() if isinstance(value, torch.Tensor)]


def by_token(batch):
    """The names of what is said of each token, beside its mask and position: its type, for one."""
    if "input_ids" not in batch:
        return []
    shape = batch["input_ids"].shape
    return [name for name in tensors_of(batch) if name not in TOKENS and batch[name].shape[:2] == shape]


def rows_of(batch):
    """How many rows it has."""
    known = [name for name in ("input_ids", "decoder_input_ids", "attention_mask") if name in batch]
    return len(batch[(known or tensors_of(batch))[0]])


def length_of(batch):
    """How many tokens its rows have, padding included: those of the decoder, where there is one."""
    return batch.get("decoder_input_ids", batch.get("input_ids")).shape[1]


def one_row(batch, row):
    """That row as a batch of its own: of pictures and sounds its share, of tokens with their padding."""
    rows = rows_of(batch)
    return {name: one.chunk(rows)[row] if isinstance(one, torch.Tensor) else one for name, one in batch.items()}


def rolled(batch):
    """The rows in another order: the last one first."""
    rows = rows_of(batch)
    return {**batch, **{name: batch[name].roll(len(batch[name]) // rows, 0) for name in tensors_of(batch)}}


def tokenised(source, inputs, padding):
    """Uneven texts through the checkpoint's own tokenizer, or None where it has none that tells words apart.

    Without tokenizer files transformers invents an empty one: no tokens, or all of them unknown.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source.checkpoint, trust_remote_code=source.trust_remote_code
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    shortest = LENGTHS[inputs][-1]
    rows = [tokenizer(text * shortest)["input_ids"][:shortest] for text in TEXTS]
    if len({token for row in rows for token in row}) < FEWEST_TOKENS:
        return None
    if padding == "none":
        tokens = torch.tensor(rows)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = padding
    encoded = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def batch_for(source, config, inputs, padding, seed):
    """What a cell begins with: texts for a checkpoint of the user's that has a tokenizer, random inputs else."""
    spec = inputs_of(source.architecture, config)
    decoder_tokens = DECODER_TOKENS if spec["decoder"] and inputs == "prefill" else 0
    batch = tokenised(source, inputs, padding) if source.own and not source.architecture.inputs else None
    if batch is None:
        known = [getattr(one, "pad_token_id", None) for one in (config, text_config(config))]
        pad = next((one for one in known if one is not None), 0)
        return made(spec, LENGTHS[inputs], padding, pad, decoder_tokens, seed + 1)
    if decoder_tokens:
        batch["decoder_input_ids"] = batch["input_ids"][:, :decoder_tokens].contiguous()
    return batch


def checked(batch, padding):
    """The batch, if it is what a cell with that padding is measured on.

    Raises:
        RuntimeError: it is padded otherwise, or says next to nothing.
    """
    mask = batch["attention_mask"].bool() if "attention_mask" in batch else torch.ones(rows_of(batch), 1, dtype=bool)
    sides = {side for side, end in (("left", 0), ("right", -1)) if not mask[:, end].all()} or {"none"}
    if sides != {padding}:
        raise RuntimeError(f"the batch is padded on {' and '.join(sorted(sides))}, not {padding}")
    told = batch.get("input_ids")
    if told is not None and (len(told[mask.expand_as(told)].unique()) < FEWEST_TOKENS or len(told.unique(dim=0)) < 2):
        raise RuntimeError("the batch has too few different tokens to judge a model by")
    names = tensors_of(batch)
    rows = [torch.cat([one_row(batch, row)[name].flatten().double() for name in names]) for row in range(2)]
    if rows_of(batch) < 2 or rows[0].equal(rows[1]):
        raise RuntimeError("the batch has too few different rows to judge a model by")
    return batch


def takes_positions(model):
    """Whether its forward pass can be told positions."""
    return "position_ids" in inspect.signature(model.forward).parameters


def with_positions(batch, model):
    """The batch with the positions that `generate` would use, so that padding does not shift them."""
    # With pictures among them tokens have positions that only the model itself works out.
    if not takes_positions(model) or "attention_mask" not in batch or others(batch):
        return dict(batch)
    return {**batch, "position_ids": (batch["attention_mask"].cumsum(-1) - 1).clamp_min(0)}


def told(batch, model, architecture):
    """A padded batch with positions, for a model that would count the padding. Nobody tells the others."""
    counts = architecture.positions == "told" and is_padded(batch)
    return with_positions(batch, model) if counts else batch


def moved(batch, device, dtype):
    """The batch there, its numbers that are no ids in that dtype."""
    return {
        name: one.to(device, dtype if one.is_floating_point() else one.dtype) if isinstance(one, torch.Tensor) else one
        for name, one in batch.items()
    }


def is_padded(batch):
    """Whether part of it is there only to make its rows as long as the longest."""
    return "attention_mask" in batch and not bool(batch["attention_mask"].all())


def judged(batch, logits):
    """Where logits of shape (batch, positions, classes) are judged: at all tokens, of an encoder at the attended.

    Frames of sound are fewer than its samples: those are judged that begin and end where there is sound.
    """
    mask = batch.get("attention_mask")
    shape, own = logits.shape[:2], mask is not None and "decoder_input_ids" not in batch
    if own and mask.shape == shape:
        return mask.bool()
    if own and "input_ids" not in batch:
        frames = mask.sum(1, keepdim=True) * shape[1] // mask.shape[1]
        return torch.arange(shape[1], device=mask.device)[None] < frames - frames.lt(shape[1]).long()
    return torch.ones(shape, dtype=torch.bool, device=logits.device)


def alone(batch, row):
    """One row without its padding, as a batch of its own, and where in the row its logits belong."""
    own = one_row(batch, row)
    if "input_ids" not in batch or "attention_mask" not in batch:
        return own, slice(None)
    mask = batch["attention_mask"][row].bool()
    for name in ("input_ids", "attention_mask", "position_ids", *by_token(batch)):
        if name in own:
            own[name] = own[name][:, mask]
    return own, slice(None) if "decoder_input_ids" in batch else mask
