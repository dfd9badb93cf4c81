"""Files that are there whole or not at all."""

import errno
import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write aside, then rename into place: whoever reads finds what was there before, or all of this.

    A link of that name is replaced, not written through.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; what was there before is still there.
    """
    if not path.name:  # the folder that this process is in
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    content = content.encode("utf-8") if isinstance(content, str) else content
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        with aside.open("xb") as file:
            file.write(content)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
