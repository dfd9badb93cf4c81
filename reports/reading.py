"""Reports from a file, which may come from elsewhere: read within limits, bad parts named and the rest kept."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from matrix.errors import UsageError
from reports.compact import Shared
from reports.document import READ_VERSIONS, End, Process, Record, Report, RowRecord, Run, complaint, make_report
from reports.packed import plain_name, read_plain, report_file
from reports.part import LONGEST_TEXT, Part
from reports.power import PowerSummary, published_power

MOST_RECORDS = 100_000
MOST_VALUES = 20_000  # of one record or row; a cell has at most some hundred
_COMPLAINTS = 1_000

_LINE: TypeAdapter[Process | Record | RowRecord | End] = TypeAdapter(
    Annotated[Process | Record | RowRecord | End, Field(discriminator="kind")]
)
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){1,3}", re.ASCII)
P = TypeVar("P", bound=Part)


class Complaints:
    """What could not be read: text that any file can hold, and the rest counted where there is too much of it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, line: str) -> None:
        """Note one."""
        if len(self._lines) < _COMPLAINTS:
            self._lines.append(complaint(line))
        else:
            self._more += 1

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [*self._lines, *([f"... and {self._more:,} more"] if self._more else [])]


_OTHERS = ("advice", "gate")  # what else this suite writes, with a schema of its own


class NoReport(UsageError):
    """JSON that does not even claim to be a report of this suite."""


class _Ended(End):
    """What a matrix.json says of the run's end."""

    unreadable: list[str] = Field(default_factory=list)


def read_report(path: Path) -> Report:
    """The report in a matrix.json, or the one that a records.jsonl adds up to; either may be packed with gzip.

    Of the folder of a run it is that of its matrix.json. Records, rows and lines that cannot be read are named in it,
    the rest is kept. Counts are taken anew.

    Raises:
        UsageError: the file cannot be read, is too large, holds no run, or is of another major schema version.
    """
    path = report_file(path)
    content = read_plain(path)
    return _from_lines(content, path) if plain_name(path).endswith(".jsonl") else _from_document(content, path)


def _from_document(content: bytes, path: Path) -> Report:
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        lines = path.with_name("records.jsonl")
        remedy = f"; python -m reports render {lines} rebuilds it" if lines.is_file() else ""
        raise UsageError(f"{path}: not a report: {_said(error)}{remedy}") from None
    if not isinstance(document, dict) or not {"schema_version", "run"} & document.keys():
        raise NoReport(f"{path}: not a report: it has neither schema_version nor run")
    if document.get("kind") in _OTHERS:
        raise NoReport(f"{path}: not a report of a run, but of kind {document['kind']}")
    _check_version(document.get("schema_version"), path)
    try:
        run = Run.model_validate(document.get("run"))
        end = _Ended.model_validate({name: value for name, value in document.items() if name != "kind"})
    except ValidationError as error:
        raise UsageError(f"{path}: not a report: {first_problem(error)}") from None
    complaints = Complaints()
    for line in end.unreadable:
        complaints.add(line)
    known = len(complaints.lines)
    shared = Shared(document.get("shared"))
    records = _each(Record, document.get("records"), "records", path, complaints, shared.put_back)
    rows = _each(RowRecord, document.get("rows", []), "rows", path, complaints)
    processes = _each(Process, document.get("processes", []), "processes", path, complaints)
    given = document.get("power")
    power = _each(PowerSummary, [] if given is None else [given], "power", path, complaints)
    report = make_report(run, records, rows=rows, processes=processes, power=power[0] if power else None, end=end)
    # What a file says of itself and what it holds are two things; the second is shown.
    for name, counted in (("counts", report.counts), ("waived", report.waived)):
        if document.get(name) != counted and len(complaints.lines) == known:
            complaints.add(f"{name}: the file says {document.get(name)}, its records {counted}")
    return _with_complaints(report, complaints, str(document["schema_version"]))


def _from_lines(content: bytes, path: Path) -> Report:
    # Not splitlines: a message may hold one of the characters that only Unicode calls a line's end.
    lines = content.decode("utf-8", errors="replace").split("\n")
    if not lines[0].strip():
        raise UsageError(f"{path}: empty; expected a run in line 1")
    try:
        first = json.loads(lines[0])
        if isinstance(first, dict) and first.get("kind") == "run":
            _check_version(first.get("schema_version"), path)
        run = Run.model_validate(first)
    except UsageError:
        raise
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: line 1 is not a run: {_said(error)}") from None
    records: list[Record] = []
    rows: list[RowRecord] = []
    processes: list[Process] = []
    complaints = Complaints()
    end: End | None = None
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        if number > MOST_RECORDS:
            raise _too_many(path)
        try:
            long = len(line) > LONGEST_TEXT
            part = _LINE.validate_python(_moderate(json.loads(line))) if long else _LINE.validate_json(line)
        except (ValueError, RecursionError) as error:
            complaints.add(f"{path.name}: line {number}: {_said(error)}")
            continue
        if isinstance(part, End):
            end = part
        elif isinstance(part, RowRecord):
            rows.append(part)
        elif isinstance(part, Process):
            processes.append(part)
        else:
            records.append(part)
    report = make_report(run, records, rows=rows, processes=processes, power=published_power(run.stack.device), end=end)
    return _with_complaints(report, complaints, run.schema_version)


def _with_complaints(report: Report, complaints: Complaints, version: str) -> Report:
    known = set(complaints.lines)  # a matrix.json says itself what whoever wrote it could not read
    for line in report.unreadable:  # what was planned and is no cell of this release
        if line not in known:
            complaints.add(line)
    return report.model_copy(update={"unreadable": complaints.lines, "schema_version": version})


def _each(
    kind: type[P],
    values: Any,
    name: str,
    path: Path,
    complaints: Complaints,
    prepared: Callable[[Any], Any] = lambda value: value,
) -> list[P]:
    """Those of the values that are of this kind, once they are prepared."""
    if not isinstance(values, list):
        complaints.add(f"{name}: a list was expected")
        return []
    if len(values) > MOST_RECORDS:
        raise _too_many(path)
    found: list[P] = []
    for place, value in enumerate(values):
        try:
            found.append(kind.model_validate(_moderate(prepared(value))))
        except ValueError as error:
            complaints.add(f"{name}: {place}: {first_problem(error)}")
    return found


def _moderate(value: Any) -> Any:
    """The value, if it has no more parts than a record may have.

    Raises:
        ValueError: it has more.
    """
    left = [value]
    for _ in range(MOST_VALUES):
        if not left:
            return value
        part = left.pop()
        left += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    raise ValueError(f"more than {MOST_VALUES:,} values in one record")


def _too_many(path: Path) -> UsageError:
    return UsageError(f"{path}: more than {MOST_RECORDS:,} records, the most that is read of one report")


def _check_version(version: object, path: Path) -> None:
    # A newer minor version is read, what it adds left aside; another major version means something else.
    known = isinstance(version, str) and _VERSION.fullmatch(version) and version.split(".")[0] in READ_VERSIONS
    if not known:
        raise UsageError(
            f"{path}: schema version {str(version)[:40]!r}; this suite reads {'.x and '.join(READ_VERSIONS)}.x: "
            "a report of another major version needs the release of the suite that wrote it"
        )


def first_problem(error: Exception) -> str:
    """The first thing that is wrong, with its place, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        kind, *rest = first["loc"] or ("",)  # the kind of a line comes first where one of several was expected
        place = ".".join(
            str(part)[:80] for part in (rest if kind in ("record", "row", "process", "end") else first["loc"])
        )
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return str(error)


def _said(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else first_problem(error)
