"""Checkpoints made on the spot, kept in a content-addressed cache, safe when many workers start at once."""

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from conformance.models import recipe
from matrix.architectures import Architecture

# Beside the weights: by what measurements they were scaled.
CALIBRATION = "calibration.json"


def fixture(architecture: Architecture, cache: Path, seed: int = 0) -> Path:
    """The folder of the architecture's checkpoint, built and saved as safetensors on first use.

    The folder's name digests the config, the seed, the recipe and the library versions. It is built
    aside and renamed into place, so that whoever comes second finds it whole.
    """
    ingredients = {
        "model_type": architecture.model_type,
        "auto_class": architecture.auto_class,
        "config": dict(architecture.config),
        "seed": seed,
        "recipe": inspect.getsource(recipe),
        "versions": [metadata.version("torch"), metadata.version("transformers")],
    }
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:12]
    target = cache / f"{architecture.name}-{digest}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=cache, prefix=".building-"))
    try:
        model = recipe.build_model(architecture.model_type, architecture.auto_class, architecture.config, seed)
        model.save_pretrained(building, safe_serialization=True)
        measured = json.dumps(recipe.calibration(model), indent=1)
        (building / CALIBRATION).write_text(measured + "\n", encoding="utf-8")
        try:
            os.rename(building, target)
        except OSError:
            if not target.is_dir():  # another worker was first, or the disk is at fault
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target
