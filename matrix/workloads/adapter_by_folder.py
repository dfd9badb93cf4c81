"""A LoRA and its base loaded at once."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (
    adapter_room(
        "adapter_by_folder", "a LoRA and its base, by from_pretrained of the adapter's folder", 405, Phase.LOAD
    ),
)
