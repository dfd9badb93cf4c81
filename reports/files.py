"""Files that are there whole or not at all."""

import errno
import os
from pathlib import Path

from matrix.errors import UsageError

AT_THE_END = ("matrix.json", "index.html", "summary.md")  # what is written once a run has ended


def forget_report(folder: Path) -> None:
    """Take away the report of an older run in that folder, or of this one from when it was cut off.

    Raises:
        OSError: the folder cannot be written to.
    """
    for name in AT_THE_END:
        (folder / name).unlink(missing_ok=True)


def make_room_for(path: Path) -> None:
    """Make the folder of a file, before minutes of measuring rather than after.

    Raises:
        UsageError: it cannot be made; with why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path.parent}: cannot be written to: {error.strerror}") from None


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


def write_over(path: Path, content: bytes) -> None:
    """Write in place of what stands there, for who writes again at once: blanks follow until the file is shorter.

    A file that is emptied first is sent to the disk by ext4 as soon as it is closed, which takes 2.7 ms, not 0.01.

    Raises:
        OSError: there is no such folder, or the file cannot be written to.
    """
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb", buffering=0) as file:
        file.write(content.ljust(os.fstat(file.fileno()).st_size))
        file.truncate(len(content))
