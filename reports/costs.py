"""The table by which plans are divided (matrix/costs.toml), made from the reports of whole runs."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from matrix.costs import PARTS, Costs
from matrix.verdict import Verdict
from reports.document import Record, Report

_LONGEST = 1e7  # seconds; no cell takes as long
_NAME = re.compile(r"[\w:.\[\]()=, -]+", re.ASCII)  # for which there can be a key in the table
_ROUNDS = 50  # more change nothing in the digits that are kept


@dataclass(frozen=True)
class _Seen:
    report: str
    kind: str
    architecture: str
    seconds: float


def took_time(report: Report) -> bool:
    """Whether it says what its cells cost."""
    return any(map(_seconds, _counted(report)))


def _counted(report: Report) -> list[Record]:
    """The cells that ran, but for those of which a report from elsewhere says what can be no key."""
    return [
        record
        for record in report.records
        if record.verdict is not Verdict.MISSING and _NAME.fullmatch(f"{record.axes['architecture']} {_kind(record)}")
    ]


def _kind(record: Record) -> str:
    return " ".join(record.axes[part] for part in PARTS)


def _seconds(record: Record) -> float:
    price = record.observation.price  # which other runs do not ask for
    took = record.took - (price.spent if price else 0) if record.took else sum(record.observation.seconds.values())
    return took if 0 < took < _LONGEST else 0.0  # a report may come from anywhere


def costs_of(reports: Iterable[Report]) -> Costs:
    """The costs that explain the reports' seconds: those of a kind of cell, times a factor for its architecture and one
    for the machine.

    Means, not medians: what a shard takes is a sum, and few cells that compile are most of it.
    """
    reports = list(reports)
    seen = [
        _Seen(
            report=str(number),
            kind=_kind(record),
            architecture=record.axes["architecture"],
            seconds=_seconds(record),
        )
        for number, report in enumerate(reports)
        for record in _counted(report)
    ]
    machines = _shares((one.report, one.seconds, 1.0) for one in seen)
    kinds: dict[str, float] = {}
    factors = dict.fromkeys((one.architecture for one in seen), 1.0)
    for _ in range(_ROUNDS):
        # In a machine's own units each report weighs alike, be it of a slow one or of a fast one.
        kinds = _shares((one.kind, one.seconds / machines[one.report], factors[one.architecture]) for one in seen)
        factors = _shares((one.architecture, one.seconds / machines[one.report], kinds[one.kind]) for one in seen)
        machines = _shares((one.report, one.seconds, kinds[one.kind] * factors[one.architecture]) for one in seen)
    mean = fmean(kinds[one.kind] * factors[one.architecture] for one in seen)
    rows: dict[str, list[float]] = {}
    for number, report in enumerate(reports):
        for row in report.rows:
            if not _NAME.fullmatch(row.key):
                continue
            rows.setdefault(row.key, []).append(row.seconds / machines[str(number)])
    return Costs(
        cells={kind: cost / mean for kind, cost in kinds.items()},
        architectures=factors,
        rows={key: fmean(costs) / mean for key, costs in rows.items()},
    )


def _shares(parts: Iterable[tuple[str, float, float]]) -> dict[str, float]:
    """By name: what its parts cost, over what they would cost if the name made no difference."""
    costs: dict[str, float] = {}
    usual: dict[str, float] = {}
    for name, cost, otherwise in parts:
        costs[name] = costs.get(name, 0.0) + cost
        usual[name] = usual.get(name, 0.0) + otherwise
    return {name: cost / usual[name] if usual[name] else 0.0 for name, cost in costs.items()}


def toml_lines(costs: Costs) -> Iterator[str]:
    """The table as text."""
    yield "# Times as much as a mean cell costs: means over reports of CPUs and GPUs, each in units of its own machine."
    yield "# Made by: python -m reports costs RUN... -o matrix/costs.toml"
    tables: Mapping[str, Mapping[str, float]] = vars(costs)
    for name, table in tables.items():
        yield from ("", f"[{name}]")
        for key in sorted(table):
            yield f'"{key}" = {table[key]:.3g}'
