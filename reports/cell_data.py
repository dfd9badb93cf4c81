"""What the script of a page needs of its cells, as JSON that is safe inside a script element."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from matrix.architectures import Architecture, load_architectures
from matrix.cell import AXES, parse_cell
from matrix.dials import Reading
from matrix.errors import UsageError
from matrix.observation import Price
from matrix.reproduce import script_pieces
from matrix.verdict import Verdict
from reports.document import Record, Report, backend_of
from reports.explained import why_wrong
from reports.prices import told
from reports.text import reproducing_command
from reports.views import FAMILY, MANY, MEANINGS, SYMBOLS, family_of, gravity, report_axes, traits_of, worst_ratio

_MARKUP = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


@dataclass
class Numbered:
    """Values by number, each kept once: most recur in many cells. Number 0 says that there is nothing."""

    values: list[Any] = field(default_factory=lambda: [None])
    _numbers: dict[object, int] = field(default_factory=dict)

    def number(self, value: Any) -> int:
        """The number of a value that JSON can hold."""
        if value is None:
            return 0
        key = value if isinstance(value, str) else (json.dumps(value),)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def cells_json(report: Report) -> str:
    """What the matrix, its filters and the list of cells are drawn from."""
    return safe_json(
        {
            "command": reproducing_command("{cell}", report.run.seed),
            "axes": report_axes(report),
            "many": MANY,
            "architectures": {
                name: _trim(facts.model_dump(mode="json")) or {} for name, facts in report.run.architectures.items()
            },
            "traits": list(traits_of(report)),
            "verdicts": [
                [
                    verdict.value,
                    SYMBOLS[verdict],
                    MEANINGS[verdict],
                    gravity(verdict, known=False),
                    gravity(verdict, known=True),
                ]
                for verdict in Verdict
            ],
            **_table(_listed(record, report) for record in report.records),
        }
    )


def details_json(report: Report) -> str:
    """What else is known of each cell, in the order of the cells; values are packed, for there are thousands."""
    table = _table(map(_detail, report.records))
    shapes: dict[tuple[str, ...], int] = {}
    values = [_packed(value, shapes) for value in table["values"]]
    return safe_json({**table, "values": values, "shapes": [list(names) for names in shapes]})


def _packed(value: Any, shapes: dict[tuple[str, ...], int]) -> Any:
    """An object as the number of its names, from 1, and its values; a list as 0 and its parts; else what it is."""
    if isinstance(value, dict):
        return [shapes.setdefault(tuple(value), len(shapes) + 1), *(_packed(part, shapes) for part in value.values())]
    return [0, *(_packed(part, shapes) for part in value)] if isinstance(value, list) else value


def scripts_json(report: Report) -> str:
    """The reproducing script of each cell, in the order of the cells.

    A script is a shape and what fills its holes: texts by number, where 0 is the cell's id. A cell that this release
    cannot reproduce, such as one of an architecture of somebody else's, has none.
    """
    known = load_architectures()
    kept = Numbered()
    shapes: dict[tuple[int, ...], int] = {}
    scripts: list[list[int]] = []
    numbered = cache(lambda texts: [kept.number(text) for text in texts])
    for record in report.records:
        shape: list[int] = []
        holes: list[int] = []
        for piece in _script(record, known, report):
            if isinstance(piece, str):
                shape.append(-1)
                holes.append(0 if piece == record.cell else kept.number(piece))
            else:
                shape += numbered(piece)
        scripts.append([shapes.setdefault(tuple(shape), len(shapes)), *holes] if shape else [])
    return safe_json({"texts": kept.values, "shapes": [list(shape) for shape in shapes], "scripts": scripts})


def _script(record: Record, known: Mapping[str, Architecture], report: Report) -> Iterator[str | tuple[str, ...]]:
    try:
        cell = parse_cell(record.cell)
    except UsageError:
        return
    if cell.architecture in known:
        checkpoint = report.run.checkpoints.get(cell.architecture)
        yield from script_pieces(cell, known[cell.architecture], checkpoint, record.seed, why_wrong(record))


def _table(given: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A row for each, which holds for each field the number of its value; what is empty is left out."""
    trimmed = [{name: _trim(value) for name, value in one.items()} for one in given]
    fields = list(dict.fromkeys(name for one in trimmed for name, value in one.items() if value is not None))
    kept = Numbered()
    rows = [[kept.number(one.get(name)) for name in fields] for one in trimmed]
    return {"fields": fields, "rows": rows, "values": kept.values}


def _listed(record: Record, report: Report) -> dict[str, Any]:
    return {
        "cell": record.cell,
        "backend": backend_of(record),
        FAMILY: family_of(record, report) if report.run.architectures else None,
        **{axis: record.axes[axis] for axis in ("architecture", *AXES)},
        "verdict": record.verdict.value,
        "fails": record.fails or None,
        "waived": record.waived and record.waived.model_dump(mode="json"),
        "worst": worst_ratio(record),
        "reason": record.reason,
        "kernels": record.kernels,
    }


def _detail(record: Record) -> dict[str, Any]:
    dumped = record.model_dump(mode="json")
    observation = dumped["observation"]
    return {
        **{name: dumped[name] for name in ("first_verdict", "demanded", "expectation", "bounds", "worker")},
        "first_observation": _first(dumped["first_observation"]),
        **{name: value for name, value in observation.items() if name != "evidence"},
        "comparisons": [_shown(comparison) for comparison in observation["comparisons"]],
        "diagnosis": why_wrong(record),
        "price": _price(record.observation.price),
        "dials": [_dial(one) for one in record.observation.readings],
        **{f"evidence.{name}": value for name, value in observation["evidence"].items() if value},
    }


def _dial(reading: Reading) -> dict[str, Any]:
    """A reading in words, and whether it is off."""
    return {"said": reading.said, "explains": reading.share, "off": reading.is_off or None}


def _price(price: Price | None) -> dict[str, Any] | None:
    """What the cell takes beside its twin, in words."""
    return None if price is None else {"twin": price.twin, "said": list(told(price))}


def _first(observation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the detail of a cell shows of what was seen before it was measured again."""
    if observation is None:
        return None
    comparisons = [_shown(comparison) for comparison in observation["comparisons"]]
    return {"ending": observation["ending"], "failure": observation["failure"], "comparisons": comparisons}


# What the detail of a cell shows of a comparison only where it is not so, and what it does not show.
_TRUE = ("shape_matches", "dtype_matches", "finite")
_NOT_SHOWN = ("quantised", "gradients", "few", "single", "runs", "readings")


def _shown(comparison: Mapping[str, Any]) -> dict[str, Any]:
    left_out = (
        *_NOT_SHOWN,
        *(name for name in _TRUE if comparison[name]),
        *(() if comparison["draws"] else ("draws",)),
    )
    return {name: value for name, value in comparison.items() if name not in left_out}


def _trim(value: Any) -> Any:
    """The value without its empty parts, floats with the digits that a reader can use; None if nothing is left."""
    if isinstance(value, dict):
        parts = {key: _trim(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part is not None} or None
    if isinstance(value, list):
        return [_trim(part) for part in value] or None
    if isinstance(value, float):
        rounded = float(f"{value:.5g}")  # of the largest float64 there is it is infinite
        return rounded if math.isfinite(rounded) else str(value)
    return None if value == "" else value


def safe_json(data: Any) -> str:
    """JSON that no script element ends in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).translate(_MARKUP)
