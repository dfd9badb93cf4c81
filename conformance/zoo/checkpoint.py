"""What must be known of a checkpoint that somebody names: read off its folder, and tried on small ones of its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

from conformance.models.batches import PLAIN
from conformance.zoo.census import BASE, HEADS, facts_of, known_of_config, small_model
from conformance.zoo.derive import own_fields
from conformance.zoo.inputs import inputs_of
from conformance.zoo.shrink import only_layers, shrunk_whole

LARGEST = 2_000_000_000  # parameters of a model with few layers that is run once on a CPU, to find out what it takes


def known_of_checkpoint(folder: Path) -> dict[str, Any]:
    """The entry of a census for the checkpoint in that folder.

    Its config, made small as a default is, tells positions; the config itself, without weights, what its class keeps
    and declares; where more than text goes in, a model of its sizes with few layers tells what that is.
    """
    config = transformers.AutoConfig.from_pretrained(folder)
    auto_class = auto_class_of(config)
    whole = own_fields(config.to_dict())
    known = known_of_config(config.model_type, auto_class, lambda: shrunk_whole(whole))
    if known["unbuilt"]:
        raise ValueError(known["unbuilt"])
    with torch.device("meta"):
        model = getattr(transformers, auto_class).from_config(config)
    known |= facts_of(model, auto_class, config.model_type) | {"config": {}}
    if known["inputs"]["noise"]:
        few = small_model(config.model_type, auto_class, only_layers(whole), LARGEST)
        with torch.no_grad():
            known["inputs"] = inputs_of(few, auto_class)
    elif _plain(known["inputs"]):
        known["inputs"] = {}  # its own tokenizer says what goes in
    return known


def auto_class_of(config: Any) -> str:
    """The auto class whose model the checkpoint was saved from; AutoModel where that has no head that is tried."""
    saved = set(config.architectures or ())
    for head in reversed([head for head in HEADS if head.auto_class != BASE]):
        names = getattr(modeling_auto, head.mapping, {}).get(config.model_type, ())
        if saved & set((names,) if isinstance(names, str) else names):
            return head.auto_class
    return BASE


def _plain(inputs: Mapping[str, Any]) -> bool:
    said = ("prefix", "by_token", "noise", "stamped", "constant", "frames")
    return inputs["tokens"] and inputs["mask"] and all(inputs[name] == PLAIN[name] for name in said)
