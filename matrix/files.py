"""Files that somebody wrote, read within limits: what cannot be read is one line, with the file's name."""

import contextlib
import json
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from matrix.errors import UsageError

_LARGEST = 16 * 2**20  # bytes of a text that a person or a library writes
_DEEPEST = 32  # tables and lists within one another
_LARGEST_NUMBER = 2**63  # TOML and its readers elsewhere know integers of 64 bits


def read_file(path: Path, most: int = _LARGEST) -> bytes:
    """What a file holds.

    Raises:
        UsageError: it cannot be read, holds more than `most` bytes, or is no file: a device has no end, and a pipe
            may never begin.
    """
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError:  # characters that no path has
        raise UsageError(f"{path}: no such file") from None
    if not stat.S_ISREG(kind):
        raise UsageError(f"{path}: is {'a folder' if stat.S_ISDIR(kind) else 'a device or a pipe'}, not a file")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(content) > most:
        raise UsageError(f"{path}: larger than {most >> 20} MiB, the most that is read of such a file")
    return content


def read_toml(path: Path) -> dict[str, Any]:
    """The document in a TOML file, of moderate depth and with numbers that have 64 bits.

    Raises:
        UsageError: it cannot be read, or is something else.
    """
    document: dict[str, Any] = _parsed(path, "TOML", _moderate_toml)
    return document


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UsageError: it cannot be read, or is something else.
    """
    return _parsed(path, "JSON", json.loads)


def json_objects(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a file that has one a line, without what was cut off or is something else."""
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(document := json.loads(line), dict):
                yield document


def _parsed(path: Path, form: str, parse: Callable[[str], Any]) -> Any:
    text = read_file(path)
    try:
        return parse(text.decode("utf-8"))
    except RecursionError:
        raise UsageError(f"{path}: not valid {form}: nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{path}: not valid {form}: {error}") from None


def _moderate_toml(text: str) -> dict[str, Any]:
    document = tomllib.loads(text)
    _check_moderate(document)
    return document


def _check_moderate(document: dict[str, Any]) -> None:
    """Refuse what could not even be quoted in a message.

    Raises:
        RecursionError: tables and lists within one another beyond _DEEPEST.
        ValueError: a number beyond 64 bits, which hexadecimal digits can write in any length.
    """
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict | list):
                inner += one.values() if isinstance(one, dict) else one
            elif isinstance(one, int) and not -_LARGEST_NUMBER <= one < _LARGEST_NUMBER:
                raise ValueError("a number that has more than 64 bits")
        if not inner:
            return
        level = inner
    raise RecursionError
