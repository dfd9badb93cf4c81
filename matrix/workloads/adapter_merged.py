"""A LoRA merged into the weights."""

from matrix.adapters import adapter_room, of_an_adapter
from matrix.architectures import Architecture
from matrix.observation import Phase
from matrix.rooms import Values


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.quantisation != "none":
        return "what is merged into packed weights is rounded anew: that is another model than base and adapter"
    return of_an_adapter(cell, architecture)


ROOMS = (
    adapter_room(
        "adapter_merged",
        "a LoRA put on the model by peft, and merged into its weights",
        401,
        Phase.TRANSFORM,
        impossible=_impossible,
    ),
)
