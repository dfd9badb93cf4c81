"""Compiled modules, kept where an image keeps none.

Images are often built without them (uv does not compile what it installs) and with PYTHONDONTWRITEBYTECODE: then each
process compiles the three thousand modules that torch and transformers import, which takes as long as all else of a
short run, and each worker those of its models.
"""

import hashlib
import os
import sys
from importlib.util import cache_from_source, find_spec
from pathlib import Path

FOLDER = Path("~/.cache/transformers-conformance/compiled")
PREFIX = "PYTHONPYCACHEPREFIX"
_UNWANTED = "PYTHONDONTWRITEBYTECODE"


def keep_compiled() -> None:
    """Have this process and those that it starts keep compiled modules in the suite's cache, unless there are others.

    Nothing is written beside anybody's sources. Where nothing can be kept, all stays as it is.
    """
    if sys.pycache_prefix is None and (ours := _folder()) is not None:
        os.environ[PREFIX] = sys.pycache_prefix = ours
    if sys.pycache_prefix is not None and Path(sys.pycache_prefix).parent == Path(os.path.expanduser(FOLDER)):
        # What multiprocessing starts is told once more to write nothing.
        os.environ.pop(_UNWANTED, None)
        sys.dont_write_bytecode = False


def _folder() -> str | None:
    """Where to keep them, or None where torch is compiled, will be, or nothing can be written.

    A folder for what is installed: an image of the same path may bring another release whose files are as old.
    """
    try:
        spec = find_spec("torch")
        if spec is None or spec.origin is None:
            return None
        compiled = Path(cache_from_source(spec.origin))
        beside = compiled.parent if compiled.parent.exists() else compiled.parent.parent
        if compiled.exists() or (not sys.dont_write_bytecode and os.access(beside, os.W_OK)):
            return None
        site = Path(spec.origin).parent.parent
        installed = sorted(name for name in os.listdir(site) if name.endswith(".dist-info"))
        key = hashlib.sha256("\n".join([str(site), *installed]).encode()).hexdigest()[:16]
        folder = FOLDER.expanduser() / key
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError, NotImplementedError):  # nobody's home, a torch that is none
        return None
    return os.fspath(folder) if os.access(folder, os.W_OK) else None
