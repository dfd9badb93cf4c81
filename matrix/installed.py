"""The architectures of the installed transformers: read off the library once per release, and kept.

Planning needs neither torch nor the library's models: a process of its own looks at them (`conformance/zoo/`) and
writes down what must be known of each type.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from matrix.architectures import Architecture, Family, Kind, Positions, load_architectures
from matrix.errors import UsageError
from matrix.files import read_file
from matrix.selection import means_installed

_ROOT = Path(__file__).parent.parent
# What a census follows from, beside the releases of torch and transformers.
_SOURCES = ("conformance/zoo", "conformance/models", "conformance/decoding.py", "conformance/spellings.py")
FIXTURE_CACHE = Path("~/.cache/transformers-conformance/fixtures")
PROFILE = "zoo"  # in which all of them are tried
PROFILES = (PROFILE, "tensor_parallel")  # in which any are; elsewhere only those that somebody names


def with_installed(typed: Mapping[str, Architecture], cache: Path) -> dict[str, Architecture]:
    """All architectures by name: those that somebody typed, then every other type of the installed library.

    A typed one stands for the type and class that it names; what the library says of these is added to it.

    Raises:
        UsageError: the library cannot be looked at.
    """
    entries = json.loads(census(cache).read_text(encoding="utf-8"))
    known = {(entry["model_type"], entry["auto_class"]): entry for entry in entries}
    found = {}
    for name, architecture in typed.items():
        entry = known.get((architecture.model_type, architecture.auto_class))
        found[name] = architecture if entry is None else replace(architecture, **_said_by_class(entry))
    for one in typed.values():
        known.pop((one.model_type, one.auto_class), None)
    for entry in known.values():
        name = entry["name"] if entry["name"] not in found else f"{entry['name']}_causal"
        found[name] = _architecture(name, entry)
    return found


def architectures_for(
    folder: Path | None,
    cache: Path,
    *,
    profile: str = "",
    cells: str = "",
    cell_ids: Iterable[str] = (),
    checkpoints: Mapping[str, Path] | None = None,
) -> dict[str, Architecture]:
    """All architectures by name; those that nobody typed where the profile, the selection or an id may mean them.

    `checkpoints` are folders by the name under which each is to be an architecture.

    Raises:
        UsageError: a file does not parse, or the library cannot be looked at.
    """
    typed = load_architectures(folder)
    own = checkpoints or {}
    named = (cell_id.partition("-")[0] for cell_id in cell_ids)
    beyond = any(name not in (*typed, *own) and may_have(name) for name in named)
    installed = profile in PROFILES or beyond or means_installed(cells, (*typed, *own), may_have)
    known = with_installed(typed, cache) if installed else typed
    return {**known, **{name: of_checkpoint(name, path, cache, typed) for name, path in own.items()}}


def _said_by_class(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"traits": tuple(entry["traits"]), "flags": entry["flags"], "parameters": entry["parameters"]}


def _architecture(name: str, entry: Mapping[str, Any]) -> Architecture:
    return Architecture(
        name=name,
        model_type=entry["model_type"],
        kind=Kind(entry["kind"]),
        auto_class=entry["auto_class"],
        config=entry["config"],
        kept_linear=tuple(entry["kept_linear"]),
        kept_float32=tuple(entry["kept_float32"]),
        positions=Positions(entry["positions"]),
        recurrent=entry["recurrent"],
        profiles=PROFILES,
        aliases=tuple(entry["aliases"]),
        inputs=entry["inputs"],
        modality=Family(entry["family"]),
        unbuilt=entry["unbuilt"],
        missing=tuple(entry["missing"]),
        cannot=entry["cannot"],
        **_said_by_class(entry),
    )


def may_have(name: str) -> bool:
    """Whether the installed transformers has a folder of models that an architecture of this name could be of."""
    found = find_spec("transformers")
    places = list(found.submodule_search_locations or ()) if found else []
    parts = name.split("_")
    folders = {"_".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return any(os.path.isdir(Path(place) / "models" / folder) for place in places for folder in folders)


def census(cache: Path) -> Path:
    """The file with what is known of every type, made on first use.

    Raises:
        UsageError: it cannot be made.
    """
    path = cache / f"installed-{_digest()}.json"
    if not path.exists():
        print("reading the architectures of the installed transformers, once per release", file=sys.stderr)
        _look("the architectures of the installed transformers", path)
    return path


def of_checkpoint(name: str, folder: Path, cache: Path, typed: Mapping[str, Architecture]) -> Architecture:
    """The architecture of the checkpoint in that folder, under that name; what is known of it is kept.

    Rules and waivers that speak of its type speak of it.

    Raises:
        UsageError: its config cannot be read, or nobody knows how to run what it describes.
    """
    try:
        config = read_file(folder / "config.json").decode("utf-8")
    except (UsageError, UnicodeDecodeError):
        raise UsageError(f"checkpoint {folder}: there is no readable config.json in it") from None
    path = cache / f"checkpoint-{_digest(config)}.json"
    if not path.exists():
        print(f"reading what kind of model {folder} is, once", file=sys.stderr)
        _look(f"checkpoint {folder}", path, folder)
    (entry,) = json.loads(path.read_text(encoding="utf-8"))
    of = (entry["model_type"], entry["auto_class"])
    like = next((one.name for one in typed.values() if (one.model_type, one.auto_class) == of), entry["name"])
    return replace(_architecture(name, entry), profiles=(), like=like)


def _look(what: str, path: Path, *at: Path) -> None:
    command = [sys.executable, "-m", "conformance.zoo", *map(str, (path, *at))]
    answer = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        said = (answer.stderr.strip() or "nothing was said").splitlines()[-1]
        raise UsageError(f"{what} cannot be read: {said}")


def _digest(*others: str) -> str:
    try:
        ingredients = [metadata.version("torch"), metadata.version("transformers"), *others]
    except metadata.PackageNotFoundError as error:
        raise UsageError(f"profile {PROFILE!r} needs {error.name}, whose architectures are its rows") from None
    for source in _SOURCES:
        path = _ROOT / source
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.suffix in (".py", ".toml"):
                ingredients.append(file.read_text(encoding="utf-8"))
    return hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:12]
