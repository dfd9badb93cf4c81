"""Where a worker says what it is doing, for whoever finds it dead."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any


def leave_breadcrumb(path: Path, place: dict[str, Any]) -> None:
    """Say where this process is. A disk that is full is no fault of the cell that is measured meanwhile."""
    said = json.dumps({"process": os.getpid(), **place})
    with contextlib.suppress(OSError):
        try:
            path.write_text(said, encoding="utf-8")
        except FileNotFoundError:  # somebody has taken the report folder away
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(said, encoding="utf-8")


def read_breadcrumb(path: Path) -> dict[str, Any] | None:
    """What a worker last said of where it is."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
