"""Files of reports, plain or packed with gzip: opened within limits, and packed to the same bytes each time."""

import gzip
import io
import os
import zlib
from pathlib import Path

from matrix.errors import UsageError
from matrix.files import read_file

# The full plan of 56,400 cells takes some 200 MB. Inflated, a report may hold no more than one that came plain: what it
# takes to read is the same, and a file of 300 kB can be packed that grows to this.
LARGEST = 256 * 2**20  # bytes
SUFFIX = ".json.gz"
_MAGIC = b"\x1f\x8b"


def report_file(path: Path) -> Path:
    """The file itself; of the folder of a run its `matrix.json`, or the `matrix.json.gz` that was kept of it.

    Of a run that was cut off there is only its `records.jsonl`.

    Raises:
        UsageError: a folder has none of them.
    """
    if not os.path.isdir(path):  # unlike Path.is_dir it answers for what can be no path
        return path
    for name in ("matrix.json", f"matrix{SUFFIX}", "records.jsonl"):
        if (path / name).is_file():
            return path / name
    raise UsageError(f"{path}: a folder without matrix.json, matrix{SUFFIX} or records.jsonl; name a report")


def plain_name(path: Path) -> str:
    """The name that the file has when it is not packed."""
    return path.name.removesuffix(".gz")


def read_plain(path: Path) -> bytes:
    """What a file holds, packed or not.

    Raises:
        UsageError: it cannot be read, is too large, packed or inflated, or what is packed is cut off or corrupt.
    """
    content = read_file(path, LARGEST)
    # Not by its name: what a browser saves as NAME.json.gz may be inflated already. No JSON begins with these bytes.
    return _inflated(content, path) if content.startswith(_MAGIC) else content


def _inflated(content: bytes, path: Path) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # one member of gzip, and no more than one
    try:
        plain = inflater.decompress(content, LARGEST + 1)
    except zlib.error as error:
        raise _broken(path, f"is corrupt ({error})") from None
    if len(plain) > LARGEST:
        raise UsageError(f"{path}: inflates to more than {LARGEST >> 20} MiB, the most that is read of one report")
    if not inflater.eof:
        raise _broken(path, "is cut off")
    if inflater.unused_data:
        raise _broken(path, "is followed by something else")
    return plain


def _broken(path: Path, how: str) -> UsageError:
    return UsageError(f"{path}: what gzip packed {how}; fetch it anew, or python -m reports keep RUN")


def packed(plain: bytes) -> bytes:
    """The content packed with gzip: no name, no time, the best level, and 255 (unknown) for the operating system.

    The same content gives the same bytes wherever Python comes with the same zlib; another one may choose other
    matches, of which nothing is seen when it is read.
    """
    target = io.BytesIO()
    # Not gzip.compress, which lets zlib say which operating system it is.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=target, mtime=0) as file:
        file.write(plain)
    return target.getvalue()
