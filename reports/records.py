"""records.jsonl: written a line as each cell ends, read back with every bad line named and the rest kept."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from matrix.errors import UsageError
from reports.document import SCHEMA_VERSION, End, Record, Report, RowRecord, Run, make_report
from reports.power import published_power

_LINE: TypeAdapter[Record | RowRecord | End] = TypeAdapter(
    Annotated[Record | RowRecord | End, Field(discriminator="kind")]
)


class RecordWriter:
    """Appends lines, each flushed, so that a crash loses nothing that was measured."""

    def __init__(self, path: Path, run: Run) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.write(run)

    def write(self, line: Run | Record | RowRecord | End) -> None:
        """Append one line."""
        self._file.write(line.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_report(path: Path) -> Report:
    """The report that a records.jsonl adds up to; lines that cannot be read are named in it, the rest is kept.

    Raises:
        UsageError: the file cannot be read, its first line is not a run, or it is of another major schema version.
    """
    try:
        # Not splitlines: a message may hold one of the characters that only Unicode calls a line's end.
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not lines[0].strip():
        raise UsageError(f"{path}: empty; expected a run in line 1")
    try:
        first = json.loads(lines[0])
        if first.get("kind") == "run":
            check_version(first.get("schema_version"), path)
        run = Run.model_validate(first)
    except UsageError:
        raise
    except (ValidationError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: line 1 is not a run: {first_problem(error)}") from None
    records: list[Record] = []
    rows: list[RowRecord] = []
    unreadable: list[str] = []
    end: End | None = None
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            part = _LINE.validate_json(line)
        except ValidationError as error:
            unreadable.append(f"{path.name}: line {number}: {first_problem(error)}")
            continue
        if isinstance(part, End):
            end = part
        elif isinstance(part, RowRecord):
            rows.append(part)
        else:
            records.append(part)
    return make_report(run, records, rows=rows, power=published_power(run.stack.device), end=end, unreadable=unreadable)


def check_version(version: object, path: Path) -> None:
    """A newer minor version is read, what it adds left aside; another major version means something else.

    Raises:
        UsageError: the major version is another one.
    """
    ours = SCHEMA_VERSION.split(".")[0]
    if str(version).split(".")[0] != ours:
        raise UsageError(f"{path}: schema version {version!r}; this suite reads {ours}.x")


def first_problem(error: Exception) -> str:
    """The first thing that is wrong, with its place, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        kind, *rest = first["loc"] or ("",)  # the kind of a line comes first where one of several was expected
        place = ".".join(str(part) for part in (rest if kind in ("record", "row", "end") else first["loc"]))
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return str(error)
