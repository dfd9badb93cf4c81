"""`--checkpoint FOLDER` or `ARCHITECTURE=PATH_OR_HUB_ID`, checked against what the checkpoint says of itself."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from matrix.architectures import ARCHITECTURE_NAME, Architecture
from matrix.errors import UsageError, enumerated, quoted
from matrix.files import read_json

# As the hub has them: a name, or an owner and a name.
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def folders_by_name(arguments: Iterable[str], architectures: Collection[str]) -> dict[str, Path]:
    """The folders that are to be architectures of their own: given alone, or under a name that no architecture has.

    One that is given alone has a name made of the folder's.

    Raises:
        UsageError: a name or a folder is given twice.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        name, path = _own_name(argument, architectures)
        if path is None:
            continue
        if path in found.values() or name in found:
            raise UsageError(f"--checkpoint {quoted(argument)} is given twice")
        found[name] = path
    return found


def folders_of(arguments: Iterable[str]) -> list[Path]:
    """The folders that are named, in whatever form; what is none is for others to complain of."""
    candidates = [_folder(argument) or _folder(argument.partition("=")[2]) for argument in arguments]
    return [folder for folder in candidates if folder is not None]


def _own_name(argument: str, architectures: Collection[str]) -> tuple[str, Path | None]:
    """The name and the folder of what is to be an architecture of its own; no folder where it is not."""
    if (folder := _folder(argument)) is not None:
        name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")
        name = name if name[:1].isalpha() else f"checkpoint_{name}".strip("_")
        return f"{name}_checkpoint" if name in architectures else name, folder
    name, _, path = argument.partition("=")
    own = ARCHITECTURE_NAME.fullmatch(name) and name not in architectures
    return name, _folder(path) if own else None


def _folder(path: str) -> Path | None:
    try:
        folder = Path(path).expanduser().resolve()
        return folder if path and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # of no such user, or characters that no path has
        return None


def parse_checkpoints(
    arguments: Iterable[str], architectures: Mapping[str, Architecture], folders: Mapping[str, Path] | None = None
) -> dict[str, str]:
    """Checkpoint by architecture name; `folders` are those that are architectures of their own.

    A local folder's `config.json` must name the architecture's model_type; a hub id is checked when it
    is first loaded.

    Raises:
        UsageError: not of that form, an unknown architecture, or a checkpoint of another model_type.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, checkpoint = argument.partition("=")
        if _folder(argument) is not None or name in (folders or {}):
            continue
        if not equals or not checkpoint:
            raise UsageError(
                f"--checkpoint {quoted(argument)} is no folder here, nor of the form ARCHITECTURE=PATH_OR_HUB_ID"
            )
        if name not in architectures:
            allowed = enumerated(architectures)
            raise UsageError(f"--checkpoint {quoted(argument)}: unknown architecture; allowed are {allowed}")
        if name in found:
            raise UsageError(f"--checkpoint: {name} is given twice")
        try:
            folder = Path(checkpoint).expanduser()
            local = folder.exists() or checkpoint.startswith((".", "/", "~"))
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"--checkpoint {quoted(argument)}: {error}") from None
        if local:
            _check_folder(folder, architectures[name])
            checkpoint = str(folder.resolve())
        elif not _HUB_ID.fullmatch(checkpoint):
            raise UsageError(f"--checkpoint {quoted(argument)}: neither a folder here nor the id of a model on the hub")
        found[name] = checkpoint
    for name, folder in (folders or {}).items():
        _check_folder(folder, architectures[name])
        found[name] = str(folder)
    return found


def _check_folder(folder: Path, architecture: Architecture) -> None:
    _check_config(folder / "config.json", str(folder), architecture)
    if not any(folder.glob("*.safetensors")):
        raise UsageError(f"checkpoint {folder}: there is no .safetensors file in it; pickled weights are not loaded")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            shards = {str(name) for name in read_json(index)["weight_map"].values()}
        except (UsageError, KeyError, TypeError, AttributeError):
            raise UsageError(f"checkpoint {folder}: {index.name} cannot be read") from None
        gone = sorted(name for name in shards if not os.path.isfile(folder / name))
        if gone:
            raise UsageError(f"checkpoint {folder}: {len(gone)} of {len(shards)} shards are not there: {gone[0]}")


def check_hub_model(hub_id: str, architecture: Architecture) -> None:
    """Fetch a hub model's config.json (or take it from the local cache) and hold it against the architecture.

    Raises:
        UsageError: it cannot be had, or names another model_type.
    """
    try:
        from huggingface_hub import hf_hub_download

        path = hf_hub_download(hub_id, "config.json")
    except Exception as error:  # the hub's client has many ways to say no, and so has the network
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {said[0] if said else ''}"
        raise UsageError(f"checkpoint {hub_id}: neither a folder here nor to be had from the hub: {reason}") from None
    _check_config(Path(path), hub_id, architecture)


def _check_config(path: Path, checkpoint: str, architecture: Architecture) -> None:
    try:
        model_type = read_json(path).get("model_type")
    except (UsageError, AttributeError):
        raise UsageError(f"checkpoint {checkpoint}: there is no readable config.json in it") from None
    if model_type not in (architecture.model_type, *architecture.aliases):
        raise UsageError(
            f"checkpoint {checkpoint} is of model_type {quoted(model_type)}, not {architecture.model_type!r} "
            f"as architecture {architecture.name} needs"
        )
