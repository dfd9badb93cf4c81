"""Processes of our own: what a pytest would run and what one writes while it runs."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from conformance.plugin.collection import cell_id_of
from conformance.plugin.forkserver import ROOT
from conformance.plugin.rows import row_key
from matrix.errors import UsageError

_EVERY = 0.2  # seconds between two looks at what has come
_MOST = 64 * 1024  # characters handed on at a time: what is small, Ray keeps with the driver and not with the node
_ONE_A_LINE = "--verbosity=-1"  # whatever -q and -v among the arguments ask for


def planned(
    arguments: Sequence[str], python: str = sys.executable, environ: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """The cells and rows that pytest would run, of that Python and with these variables.

    Raises:
        UsageError: it would run none, or refuses; in its words.
    """
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", *arguments, "--collect-only", _ONE_A_LINE]
    answer = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    lines = answer.stdout.splitlines()
    cells = [cell for line in lines if (cell := cell_id_of(line)) is not None]
    rows = [row for line in lines if (row := row_key(line)) is not None]
    if answer.returncode or not (cells or rows):
        said = [line for line in (*lines, *answer.stderr.splitlines()) if line.startswith("ERROR")]
        raise UsageError((said or ["pytest finds nothing to run"])[-1].removeprefix("ERROR: "))
    return cells, rows


def following(path: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Whole lines of a file that a process writes, until it has ended."""
    at, rest = 0, b""
    while True:
        ended = process.poll() is not None  # before the last look, not after it
        if path.is_file():
            with path.open("rb") as file:
                file.seek(at)
                new = file.read()
            at += len(new)
            *lines, rest = (rest + new).split(b"\n")
            yield from _together([line.decode("utf-8", errors="replace") for line in lines])
        if ended:
            return
        time.sleep(_EVERY)


def _together(lines: list[str]) -> Iterator[str]:
    chunk: list[str] = []
    for line in lines:
        if chunk and sum(map(len, chunk)) + len(line) > _MOST:
            yield "\n".join(chunk)
            chunk = []
        chunk.append(line)
    if chunk:
        yield "\n".join(chunk)
