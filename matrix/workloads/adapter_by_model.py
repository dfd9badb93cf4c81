"""A LoRA loaded by the model itself."""

from matrix.adapters import adapter_room
from matrix.observation import Phase

ROOMS = (adapter_room("adapter_by_model", "a LoRA from a folder, by model.load_adapter", 404, Phase.LOAD),)
