"""A LoRA switched off."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (adapter_room("adapter_disabled", "a LoRA put on the model by peft, and switched off", 408, Phase.TRANSFORM),)
