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
    path = folder / "config.json"
    try:
        model_type = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise UsageError(f"checkpoint {folder}: there is no readable config.json in it") from None
    if model_type not in (architecture.model_type, *architecture.aliases):
        raise UsageError(
            f"checkpoint {folder} is of model_type {model_type!r}, not {architecture.model_type!r} "
            f"as architecture {architecture.name} needs"
        )
    if not any(folder.glob("*.safetensors")):
        raise UsageError(f"checkpoint {folder}: there is no .safetensors file in it; pickled weights are not loaded")
