"""Where a worker says what it is doing, for whoever finds it dead."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from reports.files import write_over


def leave_breadcrumb(path: Path, place: dict[str, Any]) -> None:
    """Say where this process is. A disk that is full is no fault of the cell that is measured meanwhile."""
    said = json.dumps({"process": os.getpid(), **place}).encode()
    with contextlib.suppress(OSError):
        try:
            write_over(path, said)
        except FileNotFoundError:  # somebody has taken the report folder away
            path.parent.mkdir(parents=True, exist_ok=True)
            write_over(path, said)


def read_breadcrumb(path: Path) -> dict[str, Any] | None:
    """What a worker last said of where it is."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
