"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write aside, then rename into place: whoever reads finds what was there before, or all of this.

    A link of that name is replaced, not written through.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; what was there before is still there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        with aside.open("xb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
