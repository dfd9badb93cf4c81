"""What goes into a model that is judged, and what into one that is timed."""

from typing import Any

import torch
import transformers

from conformance.models.batches import TEXTS, by_token, inputs_of, one_row, others, rows_of
from conformance.models.inputs import made
from conformance.models.loading import Source
from conformance.spellings import text_config

FORCED = 12  # tokens that come after a prompt, the same for every configuration, so that one truth serves all
_SHARES = (1.0, 0.45)  # of the longest row; the third is the shortest that is not a single token
_SHORTEST = 9

Batch = dict[str, Any]


def judged_batch(source: Source, config: Any, longest: int, padding: str) -> tuple[Batch, torch.Tensor]:
    """Three uneven rows, and the tokens (rows, FORCED) that are to come after each.

    Texts through the checkpoint's own tokenizer where it has one; random tokens, pictures or sound else.
    """
    lengths = [*(max(_SHORTEST + 1, int(share * longest)) for share in _SHARES), _SHORTEST]
    spec = inputs_of(source.architecture, config)
    rows = (
        _texts(source, [length + FORCED for length in lengths])
        if source.own and not source.architecture.inputs
        else None
    )
    pad = pad_token(config)
    batch: Batch = made(spec, lengths, padding, pad, 0, 1)
    forced = torch.randint(4, spec["highest"], (len(lengths), FORCED), generator=torch.Generator().manual_seed(2))
    if rows is not None:
        width = batch["input_ids"].shape[1]
        for row, tokens in enumerate(rows):
            own = lengths[row] if padding != "none" else width
            tokens = torch.tensor((tokens * (1 + (own + FORCED) // len(tokens)))[: own + FORCED])
            first = width - own if padding == "left" else 0
            batch["input_ids"][row, first : first + own] = tokens[:own]
            forced[row] = tokens[own:]
    return batch, forced


def shaped(batch: Batch, rows: int, length: int, padding: str, pad: int) -> Batch:
    """A judged batch with as many rows and columns as one that is timed: rows again, and more of their padding.

    Columns stay as they are where there is more than tokens, and where none may be padded.
    """
    apart = [one_row(batch, row % rows_of(batch)) for row in range(rows)]
    found: Batch = {
        name: torch.cat([own[name] for own in apart]) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
    width = found["input_ids"].shape[1] if "input_ids" in found else length
    if width >= length or others(found) or padding == "none":
        return found
    sides = (length - width, 0) if padding == "left" else (0, length - width)
    filled = {"input_ids": pad, "attention_mask": 0} | dict.fromkeys(by_token(found), 0)
    return {
        name: torch.nn.functional.pad(value, sides, value=filled[name]) if name in filled else value
        for name, value in found.items()
    }


def has_words(source: Source) -> bool:
    """Whether the checkpoint has a tokenizer that tells words apart."""
    return _texts(source, [_SHORTEST]) is not None


def timed_batch(source: Source, config: Any, rows: int, length: int) -> Batch:
    """Random tokens, or what else it takes, none of it padding: time does not follow what they say."""
    spec = inputs_of(source.architecture, config)
    batch: Batch = made(spec, [length] * rows, "none", pad_token(config), 0, 3)
    return batch


def _texts(source: Source, lengths: list[int]) -> list[list[int]] | None:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.checkpoint)
        rows = [tokenizer(TEXTS[row % len(TEXTS)])["input_ids"] for row in range(len(lengths))]
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        return None
    told = {token for row in rows for token in row}
    return rows if all(rows) and (len(told) >= _SHORTEST or len(rows) == 1) else None


def pad_token(config: Any) -> int:
    """What rows are filled up with."""
    known = [getattr(one, "pad_token_id", None) for one in (config, text_config(config))]
    return next((one for one in known if isinstance(one, int) and one >= 0), 0)
