"""What goes into a model: uneven batches, padded on either side. Needs only torch: scripts carry it along."""

import torch

# Longer than the sliding windows of the fixtures and than kernels' blocks of 64 and 128; the padded
# rows are judged like all others, and the shortest row is shorter than a block.
LENGTHS = {"prefill": (144, 131, 65, 9), "generate": (48, 41, 33, 7)}
NEW_TOKENS = 32


def make_batch(workload, padding, vocabulary, pad_token, decoder_tokens=0, seed=1):
    """Token ids and mask of shape (4, longest), int64; row i holds LENGTHS[workload][i] tokens if padded.

    With `decoder_tokens` there are `decoder_input_ids` of that length too, never padded.
    """
    lengths = LENGTHS[workload]
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
