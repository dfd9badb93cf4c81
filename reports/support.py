"""Support as version intervals: since which release of a library each combination works, as far as runs can tell."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from packaging.version import Version

from matrix.architectures import Architecture, load_architectures
from matrix.cell import SILENT, parse_cell
from matrix.errors import UsageError
from matrix.evidence import substitutions
from matrix.stack import NEEDED_ALONE, Device
from matrix.verdict import Verdict
from reports.document import Record, Report, backend_of
from reports.text import device_of
from reports.views import axis_values

# Released to go with another library, so that they may move when it does.
_MOVES_WITH = {
    "transformers": {"accelerate", "peft", "optimum", "tokenizers", "safetensors", "kernels"},
    "torch": {"triton"},
}
# The first minor release of a new major one, where numbers do not tell: of transformers.
_NEXT_MINOR = {(4, 57): (5, 0)}
_LIBRARIES = ("transformers", "torch", "flash-attn", "flash-attn-3", "flash-attn-4", "bitsandbytes", "accelerate")


class State(StrEnum):
    """What a cell came to in one release. Of several runs the last of these counts."""

    SUPPORTED = "supported"
    REFUSED = "refused"
    WRONG = "wrong"


# By release, from old to new; None where it was not measured.
States = tuple[State | None, ...]


@dataclass(frozen=True)
class Span:
    """Releases in a row in which a cell came to the same."""

    state: State
    first: str  # the oldest of them that was measured
    last: str
    begins: bool  # whether the minor release before the first was measured too, and came to something else

    @property
    def words(self) -> str:
        """The state, and its releases."""
        return f"{self.state} in {self.first}{'' if self.first == self.last else f' to {self.last}'}"


@dataclass(frozen=True)
class History:
    """What some cells of one combination came to, release by release."""

    spans: tuple[Span, ...]  # from old to new
    newest: str  # the newest release of the series
    cells: int
    everywhere: int  # of them, how many were measured in every release

    @property
    def words(self) -> str:
        """As compatibility tables put it: “≤” where it may have been so in releases before that nobody measured."""
        *before, latest = self.spans
        if latest.last == self.newest:
            since = f"since {'' if latest.begins else '≤ '}{latest.first}"
            words = [since if latest.state is State.SUPPORTED else f"{latest.state} {since}"]
        else:
            words = [f"{latest.words}, not measured since"]
        return "; ".join(words + [span.words for span in reversed(before)])

    @property
    def count_words(self) -> str:
        """How many cells, and in how many releases."""
        cells = f"{self.cells:,} {'cell' if self.cells == 1 else 'cells'}"
        return cells if self.everywhere == self.cells else f"{cells}, {self.everywhere or 'none'} in every release"


@dataclass(frozen=True)
class Table:
    """Support by architecture (rows) and one other axis (columns)."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, tuple[History, ...]]]  # the most frequent first


@dataclass(frozen=True)
class Series:
    """Runs on one device that differ in the release of one library, and in those that go with it."""

    device: str
    library: str
    fixed: tuple[tuple[str, str], ...]  # the other libraries
    versions: tuple[str, ...]  # from old to new
    tables: tuple[Table, ...]
    runs: tuple[Report, ...] = field(repr=False)


def all_series(reports: Iterable[Report]) -> list[Series]:
    """Every series: of transformers even with a single release, of other libraries with two or more."""
    reports = list(reports)
    found = []
    for library in _LIBRARIES:
        groups: dict[tuple[object, ...], list[Report]] = {}
        for report in reports:
            if library in report.run.stack.versions:
                groups.setdefault((device_of(report.run.stack), *_fixed(report, library)), []).append(report)
        for runs in groups.values():
            versions = sorted({run.run.stack.versions[library] for run in runs}, key=version_order)
            if len(versions) > 1 or library == "transformers":
                tables = tuple(_tables(runs, library, versions))
                if any(table.rows for table in tables):
                    found.append(
                        Series(
                            device_of(runs[0].run.stack),
                            library,
                            _fixed(runs[0], library),
                            tuple(versions),
                            tables,
                            tuple(runs),
                        )
                    )
    return found


def version_order(version: str) -> tuple[bool, Version, str]:
    """From old to new; what is no version comes first."""
    try:
        return True, Version(version), version
    except ValueError:  # InvalidVersion, or a number without end
        return False, Version("0"), version


def follows(before: str, after: str) -> bool:
    """Whether one release is of the same minor release as another that is older, or of the next one."""
    (known, one, _), (known_too, other, _) = version_order(before), version_order(after)
    minor = (one.major, one.minor)
    following = _NEXT_MINOR.get(minor, (one.major, one.minor + 1))
    return known and known_too and (other.major, other.minor) in (minor, following)


def support_data(series: Iterable[Series]) -> list[dict[str, Any]]:
    """The same for programs: one entry for each combination."""
    return [
        {
            "device": one.device,
            "library": one.library,
            "measured": list(one.versions),
            "with": dict(one.fixed),
            "architecture": architecture,
            table.title: column,
            "histories": [
                {
                    "cells": history.cells,
                    "in_every_release": history.everywhere,
                    "spans": [{"state": s.state.value, "first": s.first, "last": s.last} for s in history.spans],
                    "words": history.words,
                }
                for history in histories
            ],
        }
        for one in series
        for table in one.tables
        for architecture, row in table.rows.items()
        for column, histories in row.items()
    ]


def _fixed(report: Report, library: str) -> tuple[tuple[str, str], ...]:
    moving = {library, *_MOVES_WITH.get(library, ()), *NEEDED_ALONE}
    return tuple(sorted((name, v) for name, v in report.run.stack.versions.items() if name not in moving))


def _tables(runs: Sequence[Report], library: str, versions: Sequence[str]) -> Iterator[Table]:
    by_cell: dict[str, tuple[Record, dict[str, State]]] = {}
    for run in runs:
        version = run.run.stack.versions[library]
        for record in run.records:
            if record.verdict.executed:
                states = by_cell.setdefault(record.cell, (record, {}))[1]
                seen = state_of(record, run.run.stack.device)
                states[version] = max(seen, states.get(version, State.SUPPORTED), key=list(State).index)
    records = [record for record, _ in by_cell.values()]
    found = {cell: tuple(states.get(version) for version in versions) for cell, (_, states) in by_cell.items()}
    for title, quantised in (("backend", False), ("quantisation", True)):
        wanted = [record for record in records if (record.axes["quantisation"] != SILENT["quantisation"]) is quantised]
        yield _table(title, wanted, found, versions)


def state_of(record: Record, device: Device) -> State:
    """What a cell that ran came to, whatever was expected of it.

    One that was right although a refusal is documented is supported if what ran is what it names.
    """
    if record.verdict is Verdict.UNEXPECTED and _ran_as_named(record, device):
        return State.SUPPORTED
    if record.verdict is Verdict.SUPPORTED:
        return State.SUPPORTED
    return State.REFUSED if record.verdict is Verdict.REFUSED else State.WRONG


def _ran_as_named(record: Record, device: Device) -> bool:
    try:
        cell = parse_cell(record.cell)
    except UsageError:
        return False
    architecture = _own_architectures().get(cell.architecture)
    return architecture is not None and not substitutions(cell, architecture, record.observation.evidence, device)


@cache
def _own_architectures() -> Mapping[str, Architecture]:
    return load_architectures()


def _table(title: str, records: Sequence[Record], found: Mapping[str, States], versions: Sequence[str]) -> Table:
    subjects: dict[str, dict[str, list[States]]] = {}
    for record in records:
        column = backend_of(record) if title == "backend" else record.axes[title]
        subjects.setdefault(record.axes["architecture"], {}).setdefault(column, []).append(found[record.cell])
    rows = {
        name: {column: tuple(_histories(states, versions)) for column, states in row.items()}
        for name, row in sorted(subjects.items())
    }
    return Table(title, tuple(axis_values(records)[title]), rows)


def _histories(cells: Iterable[States], versions: Sequence[str]) -> Iterator[History]:
    """The histories of some cells.

    A cell that was not measured in each release counts with those that came to the same in all of them; where
    anything changed it stands alone, for what it came to in the other releases nobody knows.
    """
    counts = Counter(cells)
    gathered: Counter[States] = Counter()
    for states, count in counts.items():
        constant = tuple(next(filter(None, states)) for _ in states)
        unchanged = len(set(filter(None, states))) == 1 and constant in counts
        gathered[constant if unchanged else states] += count
    for states, count in gathered.most_common():
        everywhere = 0 if None in states else counts[states]
        yield History(tuple(_spans(states, versions)), versions[-1], count, everywhere)


def _spans(states: States, versions: Sequence[str]) -> Iterator[Span]:
    measured = [(state, place) for place, state in enumerate(states) if state is not None]
    last = None
    for state, run in groupby(measured, key=itemgetter(0)):
        places = [place for _, place in run]
        begins = last == places[0] - 1 and follows(versions[last], versions[places[0]])
        last = places[-1]
        yield Span(state, versions[places[0]], versions[last], begins)
