"""Two LoRAs, the second switched on."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (
    adapter_room(
        "adapter_switched",
        "two LoRAs loaded by peft, the second of which is switched on",
        406,
        Phase.LOAD,
        Phase.TRANSFORM,
    ),
)
