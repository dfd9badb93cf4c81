"""Known upstream faults: exact verdict, cells, stacks and a URL. One that no longer holds is itself an error."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.cell import Cell
from matrix.errors import UsageError, quoted
from matrix.expectation import (
    Condition,
    read_condition,
    read_tables,
    require_pattern,
    require_text,
    require_url,
    user_files,
)
from matrix.rows import RowOutcome
from matrix.selection import Selection, parse_selection
from matrix.stack import Stack
from matrix.verdict import Judgement, Verdict

FOLDER = Path(__file__).parent / "waivers"
# A cell that wavers is never excused, of a missing one nothing is known, and what the suite cannot build is its own.
_NEVER_WAIVED = (Verdict.MISSING, Verdict.FLAKY, Verdict.NOT_BUILT)
_KEYS = {"cells", "rows", "when", "verdict", "message", "reason", "url", "reproducer"}


@dataclass(frozen=True)
class Waiver:
    """A fault that is known and reported."""

    selection: Selection | None  # the cells that show it
    rows: tuple[str, ...]  # or the rows
    condition: Condition
    verdict: Verdict | None  # of the cells; rows have but one way to fail
    message: str  # a regular expression that the verdict's reason holds: of one fault among several
    reason: str
    url: str
    reproducer: str  # a script beside the waiver file, or empty
    place: str

    def covers(self, cell: Cell, stack: Stack) -> bool:
        """Whether it speaks of this cell on this stack."""
        return self.selection is not None and cell in self.selection and self.condition.holds(stack)

    def excuses(self, judgement: Judgement) -> bool:
        """Whether that is what it says of its cells."""
        return self.verdict is judgement.verdict and re.search(self.message, judgement.reason) is not None


def load_waivers(architectures: Collection[str], extra: Path | None = None) -> tuple[Waiver, ...]:
    """The suite's waivers and the user's.

    Raises:
        UsageError: a file that does not parse, or a waiver without reason, URL and either cells with their verdict
            or rows.
    """
    found: list[Waiver] = []
    for path in [*user_files(extra), *sorted(FOLDER.glob("*.toml"))]:
        for number, table in enumerate(read_tables(path, "waiver"), start=1):
            found.append(_waiver(table, f"{path}: waiver {number}", path.parent, architectures))
    return tuple(found)


def _waiver(table: dict[str, Any], place: str, folder: Path, architectures: Collection[str]) -> Waiver:
    unknown = set(table) - _KEYS
    if unknown:
        raise UsageError(f"{place}: unknown key {quoted(min(unknown))}; allowed are {', '.join(sorted(_KEYS))}")
    of_rows = "rows" in table
    require_text(table, ("reason", "url") if of_rows else ("cells", "verdict", "reason", "url"), place)
    require_url(table["url"], place)
    reproducer = table.get("reproducer", "")
    if not isinstance(reproducer, str) or (reproducer and not _is_beside(folder, reproducer)):
        raise UsageError(f"{place}: reproducer {quoted(reproducer)} is not a file beside it")
    condition = read_condition(table.get("when", {}), place)
    if of_rows:
        rows = table["rows"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, str) for row in rows):
            raise UsageError(f"{place}: rows must be a list of names, not {quoted(rows)}")
        if {"cells", "verdict", "message"} & set(table):
            raise UsageError(f"{place}: a waiver of rows has no cells, no verdict and no message")
        return Waiver(None, tuple(rows), condition, None, "", table["reason"], table["url"], reproducer, place)
    waivable = [v for v in Verdict if not v.is_documented and v not in _NEVER_WAIVED]
    if table["verdict"] not in waivable:
        raise UsageError(f"{place}: verdict {quoted(table['verdict'])}; allowed are {', '.join(waivable)}")
    try:
        selection = parse_selection(table["cells"], architectures, absent=folder == FOLDER)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    verdict, message = Verdict(table["verdict"]), require_pattern(table, "message", place)
    return Waiver(selection, (), condition, verdict, message, table["reason"], table["url"], reproducer, place)


def _is_beside(folder: Path, name: str) -> bool:
    return os.path.basename(name) == name and os.path.isfile(folder / name)


def waiver_for(cell: Cell, judgement: Judgement, stack: Stack, waivers: Collection[Waiver]) -> Waiver | None:
    """The waiver that excuses this judgement of this cell, if there is one."""
    return next((waiver for waiver in waivers if waiver.excuses(judgement) and waiver.covers(cell, stack)), None)


def row_waiver_for(row: str, stack: Stack, waivers: Collection[Waiver]) -> Waiver | None:
    """The waiver that excuses this row, if there is one."""
    return next((waiver for waiver in waivers if row in waiver.rows and waiver.condition.holds(stack)), None)


def idle_row_waivers(
    outcomes: Mapping[str, RowOutcome], stack: Stack, waivers: Collection[Waiver], *, narrowed: bool
) -> list[str]:
    """What is wrong with the waivers of rows: what they excuse is gone, or (of all rows) there is none of that name."""
    found = []
    for waiver in waivers:
        for row in waiver.rows if waiver.condition.holds(stack) else ():
            if row not in outcomes and not narrowed:
                found.append(f"{waiver.place}: there is no row {row!r}")
            if outcomes.get(row) is RowOutcome.HOLDS:
                found.append(f"{waiver.place}: the fault is gone: {row} holds")
    return found


def idle_waivers(
    judgements: Mapping[Cell, Judgement],
    stack: Stack,
    waivers: Collection[Waiver],
    *,
    narrowed: bool,
    elsewhere: Collection[Cell] = (),
) -> list[str]:
    """What is wrong with the waivers themselves: the fault is gone, or no planned cell is spoken of.

    A run that was narrowed (--cells, -k, a profile other than pairwise) cannot tell whether a waiver speaks of no
    cell, nor whether a refusal came where the fault used to be: it may have left out just the cells that show it. Nor
    can it where a waiver speaks of what many cells may raise and says which words.
    `elsewhere` are cells that this run leaves to another profile.
    """
    telling = {Verdict.SUPPORTED} if narrowed else {verdict for verdict in Verdict if verdict.executed}
    found = []
    for waiver in waivers:
        if waiver.selection is None or waiver.selection.means_absent or not waiver.condition.holds(stack):
            continue
        covered = {cell: judgement for cell, judgement in judgements.items() if cell in waiver.selection}
        if not covered and not narrowed and not any(cell in waiver.selection for cell in elsewhere):
            found.append(f"{waiver.place}: no planned cell matches {waiver.selection.text!r}")
        ran = [judgement for judgement in covered.values() if judgement.verdict.executed]
        told = telling & {judgement.verdict for judgement in ran} and not (narrowed and waiver.message)
        if told and not any(waiver.excuses(judgement) for judgement in ran):
            found.append(f"{waiver.place}: the fault is gone: {len(ran)} cells ran and none is {waiver.verdict}")
    return found
