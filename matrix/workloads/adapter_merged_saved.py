"""A LoRA merged into the weights, which are saved and loaded."""

from matrix.adapters import adapter_room, of_plain_weights
from matrix.observation import Phase

ROOMS = (
    adapter_room(
        "adapter_merged_saved",
        "a LoRA put on the model by peft, merged into its weights, and these saved and loaded without peft",
        409,
        Phase.TRANSFORM,
        Phase.SAVE,
        Phase.LOAD,
        impossible=of_plain_weights,
    ),
)
