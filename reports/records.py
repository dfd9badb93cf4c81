"""records.jsonl: written a line as each cell ends, read back with every bad line named and the rest kept."""

import json
from pathlib import Path

from pydantic import ValidationError

from matrix.errors import UsageError
from reports.document import SCHEMA_VERSION, Record, Run


class RecordWriter:
    """Appends lines, each flushed, so that a crash loses nothing that was measured."""

    def __init__(self, path: Path, run: Run) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.write(run)

    def write(self, line: Run | Record) -> None:
        """Append one line."""
        self._file.write(line.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_records(path: Path) -> tuple[Run, list[Record], list[str]]:
    """The run, its records, and a message for each line that could not be read.

    Raises:
        UsageError: the file cannot be read, its first line is not a run, or it is of another major schema version.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not lines:
        raise UsageError(f"{path}: empty; expected a run in line 1")
    try:
        version = str(json.loads(lines[0]).get("schema_version", ""))
        if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise UsageError(f"{path}: schema version {version!r}; this suite reads {SCHEMA_VERSION.split('.')[0]}.x")
        run = Run.model_validate_json(lines[0])
    except (ValidationError, ValueError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: line 1 is not a run: {_first_problem(error)}") from None
    records, unreadable = [], []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            records.append(Record.model_validate_json(line))
        except ValidationError as error:
            unreadable.append(f"{path.name}: line {number}: {_first_problem(error)}")
    return run, records, unreadable


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return str(error)
