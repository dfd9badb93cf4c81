"""The small config of a type: its default, shrunk, with what cannot be guessed from repairs.toml."""

import functools
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import transformers

from conformance.spellings import FIELDS_OF_EVERY_CONFIG, RELEASE, made_of_text
from conformance.zoo.shrink import LABELS, is_config, shrink
from matrix.files import read_toml

REPAIRS = Path(__file__).parent / "repairs.toml"
# What an encoder is told so that it becomes a decoder, where its config has the field.
DECODER = ("is_decoder", "causal")
CLASSES = {"num_labels": LABELS}
CAUSAL = "AutoModelForCausalLM"


@functools.cache
def repairs() -> dict[str, dict[str, Any]]:
    """What cannot be guessed, by type; what only one major release is told stands under `config_` and its number."""
    tables = read_toml(REPAIRS)
    here = f"config_{RELEASE[0]}"
    return {name: merged(table.get("config", {}), table.get(here, {})) for name, table in tables.items()}


def _repair(model_type: str) -> dict[str, Any]:
    """That of one type. A copy: configs keep what they are given, and write into it."""
    return deepcopy(repairs().get(model_type, {}))


def derived_config(model_type: str, auto_class: str) -> dict[str, Any]:
    """The overrides that make a small model of the type for that class."""
    made = transformers.AutoConfig.for_model(model_type, **_repair(model_type))
    default = own_fields(made.to_dict())
    small = _repaired(shrink(default), model_type)
    if made_of_text(auto_class, made):  # what from_config would look for one level down
        text = {name: value for name, value in small["text_config"].items() if name != "model_type"}
        small = {**text, **small}
    return {**small, **_told(default, auto_class)}


def own_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what is said of models in those of its parts that are none."""
    found = dict(config)
    for name, value in config.items():
        if is_config(name, value):
            own = own_fields(value)
            foreign = () if value.get("model_type") else FIELDS_OF_EVERY_CONFIG
            found[name] = {field: one for field, one in own.items() if field not in foreign}
    return found


def _told(default: Mapping[str, Any], auto_class: str) -> dict[str, Any]:
    """What the class needs to be told beside the type."""
    if auto_class == CAUSAL:
        return {name: True for name in DECODER if name in default}
    return CLASSES if auto_class == "AutoModelForImageClassification" else {}


def _repaired(config: dict[str, Any], model_type: str) -> dict[str, Any]:
    parts = {
        name: _repaired(value, value.get("model_type", "")) for name, value in config.items() if is_config(name, value)
    }
    return merged({**config, **parts}, _repair(model_type))


def merged(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The first, with what the second says instead, table by table."""
    found = dict(config)
    for name, value in other.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if both else value
    return found
