"""Compiled modules, kept where an image keeps none.

Images are often built without them (uv does not compile what it installs) and with PYTHONDONTWRITEBYTECODE: then each
process compiles the three thousand modules that torch and transformers import, which takes as long as all else of a
short run, and each worker those of its models.
"""

import os
import sys
from importlib.util import cache_from_source, find_spec
from pathlib import Path

FOLDER = Path("~/.cache/transformers-conformance/compiled")
_UNWANTED = "PYTHONDONTWRITEBYTECODE"
_PREFIX = "PYTHONPYCACHEPREFIX"


def keep_compiled() -> None:
    """Have this process and those that it starts keep compiled modules in the suite's cache, unless there are others.

    Nothing is written beside anybody's sources, and what Python finds there is checked against its source as ever.
    """
    try:
        ours = os.fspath(FOLDER.expanduser())
    except RuntimeError:  # nobody's home
        return
    if sys.pycache_prefix is None and _are_not_kept():
        os.environ[_PREFIX] = sys.pycache_prefix = ours
    if sys.pycache_prefix == ours:  # what multiprocessing starts is told once more to write nothing
        os.environ.pop(_UNWANTED, None)
        sys.dont_write_bytecode = False


def _are_not_kept() -> bool:
    """Whether torch is there uncompiled, and stays so."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    compiled = Path(cache_from_source(spec.origin))
    folder = compiled.parent if compiled.parent.exists() else compiled.parent.parent
    return not compiled.exists() and (sys.dont_write_bytecode or not os.access(folder, os.W_OK))
