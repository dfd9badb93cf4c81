"""What goes into a model: uneven batches, padded on either side. Scripts carry it along."""

import inspect

import torch
import transformers

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


def make_batch(inputs, padding, vocabulary, pad_token, decoder_tokens=0, seed=1):
    """Token ids and mask of shape (4, longest), int64; row i holds LENGTHS[inputs][i] tokens if padded.

    With `decoder_tokens` there are `decoder_input_ids` of that length too, never padded.
    """
    lengths = LENGTHS[inputs]
    rows, longest = len(lengths), max(lengths)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, vocabulary, (rows, longest), generator=generator)
    mask = torch.ones_like(tokens)
    for row, length in enumerate(lengths):
        if padding == "left":
            mask[row, : longest - length] = 0
        elif padding == "right":
            mask[row, length:] = 0
    batch = {"input_ids": tokens.masked_fill(mask == 0, pad_token), "attention_mask": mask}
    if decoder_tokens:
        batch["decoder_input_ids"] = torch.randint(4, vocabulary, (rows, decoder_tokens), generator=generator)
    return batch


def extended(batch, sequences, takes_position_ids):
    """The teacher-forcing batch for what `generate` made of `batch`, with the positions that it used.

    `sequences` is the whole output of a decoder: prompt, then new tokens.
    """
    new = sequences.shape[1] - batch["input_ids"].shape[1]
    mask = torch.cat([batch["attention_mask"], batch["attention_mask"].new_ones(len(sequences), new - 1)], dim=1)
    forced = {"input_ids": sequences[:, :-1], "attention_mask": mask}
    if takes_position_ids:
        forced["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
    return forced


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
    """What a cell begins with: texts for a checkpoint of the user's that has a tokenizer, random tokens else."""
    decoder_tokens = DECODER_TOKENS if source.architecture.kind == "encoder_decoder" and inputs == "prefill" else 0
    batch = tokenised(source, inputs, padding) if source.own else None
    if batch is None:
        pad = getattr(config, "pad_token_id", None) or 0
        return make_batch(inputs, padding, config.get_text_config().vocab_size, pad, decoder_tokens, seed + 1)
    if decoder_tokens:
        batch["decoder_input_ids"] = batch["input_ids"][:, :decoder_tokens].contiguous()
    return batch


def checked(batch, padding):
    """The batch, if it is what a cell with that padding is measured on.

    Raises:
        RuntimeError: it is padded otherwise, or says next to nothing.
    """
    mask = batch["attention_mask"].bool()
    sides = {side for side, end in (("left", 0), ("right", -1)) if not mask[:, end].all()} or {"none"}
    if sides != {padding}:
        raise RuntimeError(f"the batch is padded on {' and '.join(sorted(sides))}, not {padding}")
    if len(batch["input_ids"][mask].unique()) < FEWEST_TOKENS or len(batch["input_ids"].unique(dim=0)) < 2:
        raise RuntimeError("the batch has too few different tokens to judge a model by")
    return batch


def takes_positions(model):
    """Whether its forward pass can be told positions."""
    return "position_ids" in inspect.signature(model.forward).parameters


def with_positions(batch, model):
    """The batch with the positions that `generate` would use, so that padding does not shift them."""
    if not takes_positions(model):
        return dict(batch)
    return {**batch, "position_ids": (batch["attention_mask"].cumsum(-1) - 1).clamp_min(0)}


def told(batch, model, architecture):
    """A padded batch with positions, for a model that would count the padding. Nobody tells the others."""
    counts = architecture.positions == "told" and not batch["attention_mask"].all()
    return with_positions(batch, model) if counts else batch


def judged(batch):
    """Where logits of shape (batch, positions, vocabulary) are judged: at all tokens, of an encoder at the attended."""
    if "decoder_input_ids" in batch:
        return torch.ones_like(batch["decoder_input_ids"], dtype=torch.bool)
    return batch["attention_mask"].bool()


def alone(batch, row):
    """One row without its padding, as a batch of its own, and where in the row its logits belong."""
    mask = batch["attention_mask"][row].bool()
    own = {
        name: tensor[row : row + 1] if name.startswith("decoder") else tensor[row : row + 1, mask]
        for name, tensor in batch.items()
    }
    return own, slice(None) if "decoder_input_ids" in batch else mask
