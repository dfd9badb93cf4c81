"""A LoRA loaded by peft."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (adapter_room("adapter_by_peft", "a LoRA from a folder, by PeftModel.from_pretrained", 403, Phase.LOAD),)
