"""A LoRA merged into the weights."""

from matrix.adapters import adapter_room, of_plain_weights
from matrix.observation import Phase

ROOMS = (
    adapter_room(
        "adapter_merged",
        "a LoRA put on the model by peft, and merged into its weights",
        401,
        Phase.TRANSFORM,
        impossible=of_plain_weights,
    ),
)
