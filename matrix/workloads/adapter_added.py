"""A LoRA put on the model."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (adapter_room("adapter_added", "a LoRA put on the model by peft", 400, Phase.TRANSFORM),)
