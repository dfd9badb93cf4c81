"""What the rooms of adapters share: a LoRA, had in many ways, is one truth."""

from matrix.architectures import Architecture
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.rooms import Impossible, Values, Workload

FAMILY = "adapter"
_JUDGED = "the logits of all attended positions are judged against the base model with the adapter spelled out"


def of_an_adapter(cell: Values, architecture: Architecture) -> str | None:
    """Why no adapter is tried there, or None."""
    if cell.padding is Padding.RIGHT:
        return "an adapter sees no padding: it is tried with padding on the left, or without"
    return None


def of_plain_weights(cell: Values, architecture: Architecture) -> str | None:
    """The same, of an adapter that is merged: into weights that are plain once they are loaded."""
    dequantised = cell.quantisation.written and not cell.quantisation.stored_as
    if cell.quantisation != "none" and not dequantised:
        return "what is merged into packed weights is rounded anew: that is another model than base and adapter"
    return of_an_adapter(cell, architecture)


def adapter_room(name: str, about: str, place: int, *phases: Phase, impossible: Impossible = of_an_adapter) -> Workload:
    """The room of one way to have an adapter, which goes through these phases beside its forward pass."""
    return Workload(
        name=name,
        about=about,
        place=place,
        family=FAMILY,
        needs=("peft",),
        phases=(Phase.FORWARD, *phases),
        judged=_JUDGED,
        profiles={},
        impossible=impossible,
    )
