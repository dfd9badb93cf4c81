"""What the library does with a checkpoint by itself."""

from typing import Any

import torch
import transformers

from conformance.models.loading import Source, make_empty
from conformance.spellings import RELEASE, text_config


def looked(source: Source) -> dict[str, Any]:
    """By name: the dtype and the attention that from_pretrained takes, positions, vocabulary, parameters, and whether a
    pooler makes an output of its own of the last hidden state."""
    config = transformers.AutoConfig.from_pretrained(source.checkpoint)
    model = make_empty(source, torch.float32)
    text = text_config(config)
    saved = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None) or getattr(text, "dtype", None)
    # Until 5.0 it loaded in float32 whatever had been saved.
    dtype = saved if saved is not None and RELEASE >= (5,) else torch.float32
    positions = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "attention": str(model.config._attn_implementation),
        "positions": positions if isinstance(positions, int) and positions > 0 else None,
        "vocabulary": int(getattr(text, "vocab_size", 0)),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "pooled": getattr(model, "pooler", None) is not None,
    }
