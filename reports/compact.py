"""A report as the JSON of matrix.json: what many records say in the same words stands once.

Since schema 2.0 a record leaves out what follows from its cell's id, and what is as it mostly is; for a value at one of
SHARED it may hold a number, the place of the value in the document's list `shared`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from matrix.cell import parse_cell
from matrix.errors import UsageError
from reports.document import SCHEMA_VERSION, Report

_EVIDENCE = (
    "model_class",
    "model_type",
    "attn_implementations",
    "attention_classes",
    "linear_classes",
    "parameter_dtypes",
    "placement",
    "warnings",
    "attention_ops",
    "unquantised_parameters",
)
# Where the values stand that recur: the names on the way from a record to each. None of them is a number.
SHARED: tuple[tuple[str, ...], ...] = (
    ("reason",),
    ("expectation",),
    ("waived",),
    ("observation", "failure"),
    ("observation", "declared"),
    *(("observation", "evidence", name) for name in _EVIDENCE),
)
MOST_VALUES = 20_000_000  # of all records together, as they are read


def to_json(report: Report) -> str:
    """The content of matrix.json, a record to a line."""
    document = json.loads(report.model_dump_json(exclude={"records", "rows"}))
    document["schema_version"] = SCHEMA_VERSION  # whatever it was read from
    records = [json.loads(one.model_dump_json(exclude_defaults=True)) for one in report.records]
    for record in records:
        if record["axes"] == _axes_of(record["cell"]):
            del record["axes"]
        for bound in record.get("bounds", ()):
            bound.pop("ratio", None)
    document["shared"] = list(_shared(records))
    document["rows"] = [json.loads(row.model_dump_json(exclude_defaults=True)) for row in report.rows]
    head = json.dumps(document, ensure_ascii=False, indent=1)
    lines = ",\n".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records)
    return f'{head[:-2]},\n "records": [\n{lines}\n]\n}}\n'


def _axes_of(cell_id: str) -> dict[str, str] | None:
    """What follows from the id; None if it is none of this release."""
    try:
        return dict(parse_cell(cell_id).axis_values())
    except UsageError:
        return None


def _shared(records: list[dict[str, Any]]) -> Iterator[Any]:
    """The values that several records have, in whose place these now hold a number."""
    keys = [list(_places(record)) for record in records]
    seen = Counter(key for places in keys for _, _, key in places)
    numbers: dict[str, int] = {}
    for places in keys:
        for table, name, key in places:
            if seen[key] > 1:
                if key not in numbers:
                    numbers[key] = len(numbers)
                    yield table[name]
                table[name] = numbers[key]


def _places(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Where in a record values stand that may recur: the table, the name in it, and the value as text."""
    for *way, name in SHARED:
        table: Any = record
        for step in way:
            table = table.get(step) if isinstance(table, dict) else None
        if isinstance(table, dict) and name in table and not isinstance(table[name], int):
            yield table, name, json.dumps(table[name], sort_keys=True)


class Shared:
    """The values that the records of a document share; each is put back where its number stands."""

    def __init__(self, values: Any) -> None:
        self._values = values if isinstance(values, list) else []
        self._sizes = [_size(value) for value in self._values]
        self._left = MOST_VALUES

    def put_back(self, record: Any) -> Any:
        """The record as it was.

        Raises:
            ValueError: a number that no shared value has, or more values than a report may have.
        """
        for *way, name in SHARED if isinstance(record, dict) else ():
            table: Any = record
            for step in way:
                table = table.get(step) if isinstance(table, dict) else None
            number = table.get(name) if isinstance(table, dict) else None
            if isinstance(number, int) and not isinstance(number, bool):
                if not 0 <= number < len(self._values):
                    raise ValueError(f"{'.'.join((*way, name))}: there is no shared value {str(number)[:20]}")
                self._left -= self._sizes[number]
                if self._left < 0:
                    raise ValueError(f"more than {MOST_VALUES:,} values in all records together")
                table[name] = self._values[number]
        return record


def _size(value: Any) -> int:
    """How many values it has, texts by their length: without recursion, for it may come from anywhere."""
    size, left = 0, [value]
    while left:
        part = left.pop()
        size += 1 + (len(part) // 16 if isinstance(part, str) else 0)
        left += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return size


def json_schema() -> dict[str, Any]:
    """The JSON Schema of matrix.json."""
    schema: dict[str, Any] = _with_words(Report.model_json_schema())
    schema["properties"]["shared"] = {
        "description": "values of records; where one of them stands there may be its place in this list instead",
        "type": "array",
        "items": {},
    }
    for *way, name in SHARED:
        properties = schema["$defs"]["Record"]["properties"]
        for step in way:
            properties = schema["$defs"][properties[step]["$ref"].removeprefix("#/$defs/")]["properties"]
        usual = properties[name]
        properties[name] = {"anyOf": [*usual.get("anyOf", [usual]), {"type": "integer", "minimum": 0}]}
    return schema


def _with_words(schema: Any) -> Any:
    """Allow the words that stand for NaN and the infinities wherever a number is allowed."""
    if isinstance(schema, list):
        return [_with_words(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        rest = {key: value for key, value in schema.items() if key != "type"}
        return {**rest, "anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}
    return {key: _with_words(value) for key, value in schema.items()}
