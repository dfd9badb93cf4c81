"""A forward pass, and what is judged of it. Scripts carry it along."""

import torch

from conformance.models.batches import moved


def logits_of(output):
    """Logits of shape (batch, positions, classes); the last hidden state of a model that has no head.

    One class per row is a position of its own; pictures of features are rows of positions.
    """
    logits = getattr(output, "logits", None)
    if logits is None:
        logits = output.last_hidden_state
    if logits.ndim == 2:
        return logits[:, None]
    return logits if logits.ndim == 3 else logits.flatten(2).transpose(1, 2)


def spread_of(logits):
    """Their standard deviation, but for those that a head rules out with the lowest number of the dtype."""
    return logits[logits > torch.finfo(logits.dtype).min].std()


AT_HOME = 4_000_000  # numbers that a processor looks at in no time


def home(tensor):
    """The same numbers where looking at them waits for no GPU that others use, too, unless they are many."""
    return tensor.cpu() if tensor.numel() <= AT_HOME else tensor


def forward(model, batch, **given):
    """The logits of a forward pass; numbers that are no ids are handed over in the model's own dtype."""
    # Where its first weights wait elsewhere a model says `meta`, and takes inputs from wherever they are.
    device = None if model.device.type == "meta" else model.device
    return logits_of(model(**moved(batch, device, model.dtype), **given))
