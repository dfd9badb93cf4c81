"""A LoRA saved and loaded."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (
    adapter_room(
        "adapter_saved",
        "a LoRA put on the model, saved by peft, and loaded by it over another base",
        402,
        Phase.TRANSFORM,
        Phase.SAVE,
        Phase.LOAD,
    ),
)
