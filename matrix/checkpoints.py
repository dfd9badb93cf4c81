"""`--checkpoint ARCHITECTURE=PATH_OR_HUB_ID`, checked against what the checkpoint says of itself."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from matrix.architectures import Architecture
from matrix.errors import UsageError


def parse_checkpoints(arguments: Iterable[str], architectures: Mapping[str, Architecture]) -> dict[str, str]:
    """Checkpoint by architecture name.

    A local folder's `config.json` must name the architecture's model_type; a hub id is checked when it
    is first loaded.

    Raises:
        UsageError: not of that form, an unknown architecture, or a checkpoint of another model_type.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, checkpoint = argument.partition("=")
        if not equals or not checkpoint:
            raise UsageError(f"--checkpoint {argument!r} is not of the form ARCHITECTURE=PATH_OR_HUB_ID")
        if name not in architectures:
            raise UsageError(f"--checkpoint {argument!r}: unknown architecture; allowed are {', '.join(architectures)}")
        if name in found:
            raise UsageError(f"--checkpoint: {name} is given twice")
        try:
            folder = Path(checkpoint).expanduser()
            local = folder.exists() or checkpoint.startswith((".", "/", "~"))
        except (OSError, RuntimeError) as error:
            raise UsageError(f"--checkpoint {argument!r}: {error}") from None
        if local:
            _check_folder(folder, architectures[name])
            checkpoint = str(folder.resolve())
        found[name] = checkpoint
    return found


def _check_folder(folder: Path, architecture: Architecture) -> None:
    _check_config(folder / "config.json", str(folder), architecture)
    if not any(folder.glob("*.safetensors")):
        raise UsageError(f"checkpoint {folder}: there is no .safetensors file in it; pickled weights are not loaded")


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
        model_type = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise UsageError(f"checkpoint {checkpoint}: there is no readable config.json in it") from None
    if model_type not in (architecture.model_type, *architecture.aliases):
        raise UsageError(
            f"checkpoint {checkpoint} is of model_type {model_type!r}, not {architecture.model_type!r} "
            f"as architecture {architecture.name} needs"
        )
