"""The architectures that are tried: one TOML file each, in `matrix/architectures/` or a folder of the user's."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from keyword import iskeyword
from pathlib import Path
from typing import Any, TypeVar

from matrix.axes import Attention
from matrix.errors import UsageError, quoted
from matrix.files import read_toml

Word = TypeVar("Word", bound=StrEnum)
FOLDER = Path(__file__).parent / "architectures"
ARCHITECTURE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MODEL_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What a key of a file holds, and how a message calls it.
_TYPES: Mapping[str, tuple[type, str]] = {
    "name": (str, "a string"),
    "model_type": (str, "a string"),
    "auto_class": (str, "a string"),
    "config": (dict, "a table"),
    "reference_attention": (str, "a string"),
    "reference_reason": (str, "a string"),
    "recurrent": (bool, "true or false"),
}


class Kind(StrEnum):
    """How a model consumes and produces tokens."""

    DECODER = "decoder"
    ENCODER = "encoder"
    ENCODER_DECODER = "encoder_decoder"


class Family(StrEnum):
    """What goes into a model and what comes out: rows of the matrix that belong together."""

    TEXT_DECODER = "text decoder"
    TEXT_ENCODER = "text encoder"
    ENCODER_DECODER = "encoder-decoder"
    IMAGE = "image"
    SPEECH = "speech"
    IMAGE_AND_TEXT = "image and text"


_FAMILY_OF_KIND = {
    Kind.DECODER: Family.TEXT_DECODER,
    Kind.ENCODER: Family.TEXT_ENCODER,
    Kind.ENCODER_DECODER: Family.ENCODER_DECODER,
}


class Positions(StrEnum):
    """What padding does to the positions of the tokens behind it."""

    KEPT = "kept"  # nothing: they are relative, or follow from the mask
    TOLD = "told"  # they count the padding, unless the caller gives `position_ids`
    FIXED = "fixed"  # they count the padding, and cannot be told
    LENGTH = "length"  # rotary frequencies follow the length of the batch: a row alone is another model


_DERIVED = {"inputs", "modality", "traits", "flags", "parameters", "unbuilt", "missing", "like", "cannot"}

# transformers' modeling_rope_utils: beyond the length that they were trained for, frequencies follow the longest
# position of the batch (`dynamic_rope_update`).
_FOLLOW_THE_LENGTH = ("dynamic", "longrope")


@dataclass(frozen=True)
class Architecture:
    """What the suite must know of a `model_type` to build a fixture, load it and judge it."""

    name: str  # the value on the architecture axis
    model_type: str  # transformers' own name
    kind: Kind
    auto_class: str  # the transformers class whose from_pretrained loads it
    config: Mapping[str, Any]  # overrides for AutoConfig.for_model, small enough for a CPU
    kept_linear: tuple[str, ...] = ()  # suffixes of nn.Linear that quantisation leaves alone, by the library's design
    kept_float32: tuple[str, ...] = ()  # modules whose parameters the library keeps in float32, whatever the dtype
    reference_attention: str = "eager"  # attn_implementation of golden and baseline
    reference_reason: str = ""  # why the reference is not eager, when it is not
    positions: Positions = Positions.KEPT
    recurrent: bool = False  # layers that remember, beside attention or instead of it
    profiles: tuple[str, ...] = ()  # those that try it; empty for all
    aliases: tuple[str, ...] = field(default=())  # other model_types whose checkpoints load as this architecture
    # What follows is read off the installed library, for those that nobody typed and for those that somebody did.
    inputs: Mapping[str, Any] = field(default_factory=dict)  # see conformance/models/inputs.py; empty: tokens alone
    modality: Family | None = None
    traits: tuple[str, ...] = ()  # such as moe, window, alibi, sinks, mla, cross, linear
    flags: Mapping[str, bool] = field(default_factory=dict)  # what its class declares, such as _supports_sdpa
    parameters: int = 0
    unbuilt: str = ""  # why no model of it can be made, with the phase; empty where one can
    missing: tuple[str, ...] = ()  # distributions without which none can, or what else it lacks
    like: str = ""  # of somebody's checkpoint: the architecture that it is of
    cannot: Mapping[str, str] = field(default_factory=dict)  # values of axes that it is not asked for: why

    @property
    def family(self) -> Family:
        """Its modality, or the one that its kind suggests."""
        return self.modality or _FAMILY_OF_KIND[self.kind]

    def cannot_pad(self, side: str) -> str | None:
        """Why its inputs cannot be padded on that side, or None."""
        if not self.inputs:
            return None
        if not self.inputs["mask"]:
            return "it takes no mask: padding cannot be told from what is meant"
        if self.inputs["tokens"]:
            whole = self.inputs["positions"] in ("tokens", "decoder")
            return None if whole else "its output has no position for each token: nobody knows which are of padding"
        return None if side == "right" else "sound is padded at its end"


def load_architectures(extra: Path | None = None) -> dict[str, Architecture]:
    """All architectures by name: the suite's own, then those of the folder `extra`.

    Raises:
        UsageError: a file that does not parse, a missing or unknown key, a name taken twice.
    """
    found: dict[str, Architecture] = {}
    folders = [FOLDER] if extra is None else [FOLDER, extra]
    for folder in folders:
        if not os.path.isdir(folder):  # unlike Path.is_dir it answers for what can be no path
            raise UsageError(f"architecture folder {folder} does not exist")
        for path in sorted(folder.glob("*.toml")):
            architecture = _read(path)
            if architecture.name in found:
                raise UsageError(f"{path}: architecture {architecture.name!r} is defined twice")
            found[architecture.name] = architecture
    return found


def _read(path: Path) -> Architecture:
    document = read_toml(path)
    document.setdefault("name", path.stem)
    for key in set(document) & _DERIVED:
        raise UsageError(f"{path}: {key} is read off the installed library; it cannot be set")
    for key, (kind, called) in _TYPES.items():
        if not isinstance(document.get(key, kind()), kind):
            raise UsageError(f"{path}: {key} must be {called}, not {quoted(document[key])}")
    for key in ("kept_linear", "kept_float32", "profiles", "aliases"):
        names = document.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{path}: {key} must be a list of names, not {quoted(names)}")
        document[key] = tuple(names)
    document["kind"] = _one_of(Kind, document.get("kind"), f"{path}: kind")
    document["positions"] = _one_of(Positions, document.get("positions", Positions.KEPT), f"{path}: positions")
    try:
        architecture = Architecture(**document)
    except TypeError as error:
        raise UsageError(f"{path}: {str(error).removeprefix('Architecture.__init__() ')}") from None
    _check_words(architecture, path)
    rope = architecture.config.get("rope_parameters", architecture.config.get("rope_scaling"))
    scaling = rope.get("rope_type", rope.get("type")) if isinstance(rope, dict) else None
    if scaling in _FOLLOW_THE_LENGTH and architecture.positions is not Positions.LENGTH:
        raise UsageError(f'{path}: rope_type {scaling!r} follows the length of the batch: say positions = "length"')
    return architecture


def _check_words(architecture: Architecture, path: Path) -> None:
    """Hold what is named in code, of scripts as of the library's, to what can be a name there.

    Raises:
        UsageError: something is none.
    """
    if not ARCHITECTURE_NAME.fullmatch(architecture.name):
        raise UsageError(f"{path}: name {quoted(architecture.name)} must be lower-case letters, digits and underscores")
    for key, words in (("model_type", (architecture.model_type,)), ("aliases", architecture.aliases)):
        for word in words:
            if not _MODEL_TYPE.fullmatch(word):
                raise UsageError(f"{path}: {key}: {quoted(word)} is no model_type: letters, digits and any of _ . -")
    if not _is_name(architecture.auto_class):
        raise UsageError(f"{path}: auto_class {quoted(architecture.auto_class)} is not the name of a class")
    for key in architecture.config:
        if not _is_name(key):
            raise UsageError(f"{path}: config: {quoted(key)} is not the name of an option")
    _one_of(Attention, architecture.reference_attention, f"{path}: reference_attention")


def _is_name(word: str) -> bool:
    return word.isascii() and word.isidentifier() and not iskeyword(word)


def _one_of(words: type[Word], value: object, what: str) -> Word:
    try:
        return words(str(value))
    except ValueError:
        raise UsageError(f"{what} must be one of {', '.join(words)}, not {quoted(value)}") from None
