"""Checkpoints made on the spot, kept in a content-addressed cache, safe when many workers start at once."""

import hashlib
import inspect
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import load_file, save_file

from conformance.models import formats, recipe
from conformance.models import inputs as making
from conformance.models.batches import inputs_of
from conformance.rooms import quantisers
from matrix.architectures import Architecture

# Beside the weights: by what measurements they were scaled, and the digest of every file.
CALIBRATION = "calibration.json"
DIGESTS = "digests.json"


def fixture(architecture: Architecture, cache: Path, seed: int = 0) -> Path:
    """The folder of the architecture's checkpoint, built and saved as safetensors on first use.

    The folder's name digests the config, the seed and the recipe, but no library's version: an upgrade is measured on
    the weights that were there before. It is built aside and renamed into place, so that whoever comes second finds it
    whole. One that is damaged, or holds something else, is named in a warning and built anew.
    """
    inputs = inputs_of(architecture, transformers.AutoConfig.for_model(architecture.model_type, **architecture.config))
    ingredients = {
        "model_type": architecture.model_type,
        "auto_class": architecture.auto_class,
        "config": dict(architecture.config),
        "inputs": dict(inputs),
        "seed": seed,
        "recipe": [inspect.getsource(recipe), inspect.getsource(making)],
    }
    if _says_that_heads_are_apart(architecture):
        ingredients["head"] = "written down"
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:12]
    target = cache / f"{architecture.name}-{digest}"
    if target.exists():
        damage = _damage(target)
        if not damage:
            return target
        warnings.warn(f"the fixture {target.name} is built anew: {damage}", stacklevel=2)
    cache.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=cache, prefix=".building-"))
    try:
        model = recipe.build_model(architecture.model_type, architecture.auto_class, architecture.config, inputs, seed)
        model.save_pretrained(building, safe_serialization=True)
        _say_only_what_was_asked_for(building, model, architecture)
        _write_its_head(building, model, architecture)
        measured = json.dumps(recipe.calibration(model, inputs), indent=1)
        (building / CALIBRATION).write_text(measured + "\n", encoding="utf-8")
        promised = {"fixture": target.name, "files": _digests(building)}
        (building / DIGESTS).write_text(json.dumps(promised), encoding="utf-8")
        _put_into_place(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def formats_folder(cache: Path) -> Path:
    """The folder for checkpoints in formats of quantised weights: its name digests what writes them."""
    writers = [formats, *(half for half in quantisers() if hasattr(half, "write"))]
    digest = hashlib.sha256("".join(map(inspect.getsource, writers)).encode()).hexdigest()[:12]
    return cache / f"formats-{digest}"


def calibration_of(folder: str) -> dict[str, Any]:
    """What was measured of the fixture in that folder when it was made: see `recipe.calibration`."""
    found: dict[str, Any] = json.loads((Path(folder) / CALIBRATION).read_text(encoding="utf-8"))
    return found


def _say_only_what_was_asked_for(folder: Path, model: Any, architecture: Architecture) -> None:
    """Leave out of the configs what a release writes down of itself: its version, and defaults in its own spelling."""
    said = {"model_type": architecture.model_type, "architectures": [type(model).__name__], **architecture.config}
    (folder / "config.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    generation = folder / "generation_config.json"
    if generation.exists():
        kept = json.loads(generation.read_text(encoding="utf-8"))
        kept.pop("transformers_version", None)
        generation.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _says_that_heads_are_apart(architecture: Architecture) -> bool:
    return architecture.config.get("tie_word_embeddings") is False


def _write_its_head(folder: Path, model: Any, architecture: Architecture) -> None:
    """Write down the head's weight where the config says that it is one of its own, and this release has left it out.

    transformers 5 makes T5 with one for both whatever the config says, and saves it once; 4.x takes the config's word
    and would draw it.
    """
    head = model.get_output_embeddings()
    if head is None or not _says_that_heads_are_apart(architecture):
        return
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = next(name for name, module in model.named_modules() if module is head) + ".weight"
    if name not in weights:
        save_file({**weights, name: head.weight.detach().clone()}, file, {"format": "pt"})


def _put_into_place(building: Path, target: Path) -> None:
    if target.exists() and _damage(target):
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".damaged-"))
        os.rename(target, aside / target.name)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        os.rename(building, target)
    except OSError:
        if not target.is_dir():  # another worker was first, or the disk is at fault
            raise


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.name != DIGESTS)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _damage(folder: Path) -> str:
    """What is wrong with a fixture, or empty."""
    try:
        document = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        owner, promised = document["fixture"], document["files"]
        found = _digests(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read ({type(error).__name__})"
    if owner != folder.name:
        return f"it is {owner}"
    changed = sorted(name for name in {*promised, *found} if promised.get(name) != found.get(name))
    return f"{', '.join(changed)} is not what was saved" if changed else ""
