"""The small config of a type: its default, shrunk, with what cannot be guessed from repairs.toml."""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from conformance.zoo.shrink import LABELS, is_config, shrink

REPAIRS = Path(__file__).parent / "repairs.toml"
# What an encoder is told so that it becomes a decoder, where its config has the field.
DECODER = ("is_decoder", "causal")
CLASSES = {"num_labels": LABELS}


@functools.cache
def repairs() -> dict[str, dict[str, Any]]:
    """What cannot be guessed, by type."""
    tables = tomllib.loads(REPAIRS.read_text(encoding="utf-8"))
    return {name: table["config"] for name, table in tables.items()}


def derived_config(model_type: str, auto_class: str) -> dict[str, Any]:
    """The overrides that make a small model of the type for that class."""
    default = transformers.AutoConfig.for_model(model_type, **repairs().get(model_type, {})).to_dict()
    return {**_repaired(shrink(default), model_type), **_told(default, auto_class)}


def _told(default: Mapping[str, Any], auto_class: str) -> dict[str, Any]:
    """What the class needs to be told beside the type."""
    if auto_class == "AutoModelForCausalLM":
        return {name: True for name in DECODER if name in default}
    return CLASSES if auto_class == "AutoModelForImageClassification" else {}


def _repaired(config: dict[str, Any], model_type: str) -> dict[str, Any]:
    parts = {
        name: _repaired(value, value.get("model_type", "")) for name, value in config.items() if is_config(name, value)
    }
    return merged({**config, **parts}, repairs().get(model_type, {}))


def merged(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The first, with what the second says instead, table by table."""
    found = dict(config)
    for name, value in other.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if both else value
    return found
