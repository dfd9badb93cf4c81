"""What the rooms of relations share: when two runs of one model can be held against each other."""

from matrix.architectures import Architecture, Kind, Positions
from matrix.axes import Padding
from matrix.rooms import Values

FAMILY = "relation"
JUDGED = "the logits of both runs must agree"


def without_device_map(cell: Values, architecture: Architecture) -> str | None:
    """Why there is no such relation: it pads on the left, where caches go wrong, or not at all, on one device."""
    if cell.padding is Padding.RIGHT:
        return "relations other than padding_invariance pad on the left, where caches go wrong, or not at all"
    return _on_one_device(cell)


def of_a_decoder(cell: Values, architecture: Architecture) -> str | None:
    """The same, of a model that has a cache and sees one way."""
    if architecture.kind is Kind.ENCODER:
        return "an encoder has no cache and sees both ways"
    return without_device_map(cell, architecture)


def of_a_cache(cell: Values, architecture: Architecture) -> str | None:
    """The same, of what is decoded with a cache and held against one pass over the whole."""
    return follows_the_length(architecture) or takes_no_cache(architecture) or of_a_decoder(cell, architecture)


def of_a_kept_cache(cell: Values, architecture: Architecture) -> str | None:
    """The same, of a decoder whose cache is used a second time, by hand."""
    if architecture.kind is not Kind.DECODER:
        return "only a decoder goes on with its own input"
    return of_a_cache(cell, architecture)


def takes_no_cache(architecture: Architecture) -> str | None:
    """Why nothing can be decoded step by step, or None."""
    return None if architecture.inputs.get("cache", True) else "its forward pass takes no cache"


def follows_the_length(architecture: Architecture) -> str | None:
    """Why a part of a batch cannot be held against the whole, or None."""
    if architecture.positions is not Positions.LENGTH:
        return None
    return "its frequencies follow the length of the batch (transformers' modeling_rope_utils): a part is another model"


def of_padding(cell: Values, architecture: Architecture) -> str | None:
    """The same, of a relation that is about padding."""
    if cell.padding is Padding.NONE:
        return "without padding there is nothing to be invariant to"
    if architecture.positions is Positions.FIXED:
        return "its tokens count or hear the padding by design, and cannot be told: a row alone is another input"
    return follows_the_length(architecture) or _on_one_device(cell)


def of_placement(cell: Values, architecture: Architecture) -> str | None:
    """The same, of the relation that is about the device_map."""
    if cell.padding is Padding.RIGHT or cell.device_map == "none":
        return (
            "a device_map is what placement_invariance is about, over a batch that is padded on the left or not at all"
        )
    return None


def _on_one_device(cell: Values) -> str | None:
    return None if cell.device_map == "none" else "a device_map is what placement_invariance is about, and only that"
