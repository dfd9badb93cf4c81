"""Two LoRAs added up."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (
    adapter_room(
        "adapter_weighted",
        "two LoRAs loaded by peft and added up, each with a weight",
        407,
        Phase.LOAD,
        Phase.TRANSFORM,
    ),
)
