"""Which files of a site publishing has made, so that those of runs that are gone are taken away, and nothing else."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from matrix.errors import UsageError
from matrix.files import read_file

NAME = "published.json"
_LARGEST = 16 * 2**20  # bytes
# What publishing makes and may take away: a file from elsewhere must not name any other.
_PATH = re.compile(r"(?:(?:runs|diff|advice)/)?[A-Za-z0-9_][A-Za-z0-9._-]*\.(?:html|json|json\.gz)", re.ASCII)


def digest_of(content: bytes) -> str:
    """What a file is known by."""
    return hashlib.sha256(content).hexdigest()


def made_before(site: Path) -> dict[str, str]:
    """By its path in the site, the digest of each file that was made before; none where nothing says so."""
    try:
        found = json.loads(read_file(site / NAME, _LARGEST))
    except (UsageError, ValueError, RecursionError):
        return {}
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict):
        return {}
    return {path: digest for path, digest in files.items() if _PATH.fullmatch(path) and isinstance(digest, str)}


def manifest_text(files: Mapping[str, str]) -> str:
    """What is written beside them."""
    made = {"about": "made by python -m reports publish, which takes these files away again", "files": dict(files)}
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def take_away(site: Path, gone: Mapping[str, str]) -> list[Path]:
    """Remove files that were made before, and say which: only those that are still what was made.

    Raises:
        OSError: one of them cannot be removed.
    """
    removed = []
    for path, digest in gone.items():
        file = site / path
        ours = file.is_file() and not file.is_symlink() and not file.parent.is_symlink()
        if ours and digest_of(file.read_bytes()) == digest:
            file.unlink()
            removed.append(file)
    return removed
