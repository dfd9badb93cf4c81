"""A run that was cut off, and what it takes to go on with it."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from matrix.errors import UsageError, quoted
from matrix.rows import RowOutcome
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.document import Record, Report, RowRecord, Run
from reports.reading import read_report

_SHOWN = 3


class Earlier:
    """What is there of a run that was cut off.

    Args:
        folder: that of its report.

    Raises:
        UsageError: it holds no run, or one that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        lines = folder / "records.jsonl"
        if not lines.is_file():
            raise UsageError(f"--resume {folder}: no records.jsonl there; name the report folder of a run")
        report: Report = read_report(lines)
        self.run: Run = report.run
        self.processes = report.processes
        # What nobody heard of, or could not be read, is measured now.
        self.records: list[Record] = [one for one in report.records if one.verdict is not Verdict.MISSING]
        self.rows: list[RowRecord] = [one for one in report.rows if one.outcome is not RowOutcome.MISSING]
        self._folder = folder

    @property
    def names(self) -> frozenset[str]:
        """Cells by id and rows by key that need not be measured again."""
        return frozenset([*(record.cell for record in self.records), *(row.key for row in self.rows)])

    def check(self, run: Run) -> None:
        """Say whether a run that was asked for now goes on with this one.

        Raises:
            UsageError: it would measure something else, or on something else.
        """
        if strange := self.names - {*self.run.planned, *self.run.planned_rows}:
            raise UsageError(f"--resume {self._folder}: it holds {quoted(min(strange))}, which is not in its plan")
        if differences := list(_differences(self.run, run)):
            raise UsageError(f"--resume {self._folder}: it is not the same run: {'; '.join(differences)}")


def _differences(before: Run, now: Run) -> Iterator[str]:
    yield from _of_stacks(before.stack, now.stack)
    for name in ("profile", "narrowed", "seed", "checkpoints", "required", "options", "commit", "python"):
        was, is_now = getattr(before, name), getattr(now, name)
        if was != is_now:
            yield f"{name} was {_plain(was)}, is {_plain(is_now)}"
    for what, was, is_now in (
        ("cells", before.planned, now.planned),
        ("rows", before.planned_rows, now.planned_rows),
    ):
        if gone := [name for name in was if name not in set(is_now)]:
            yield f"its plan held {len(gone):,} {what} that this one lacks ({_some(gone)})"
        if added := [name for name in is_now if name not in set(was)]:
            yield f"its plan lacked {len(added):,} {what} that this one holds ({_some(added)})"


def _of_stacks(before: Stack, now: Stack) -> Iterator[str]:
    for name in sorted({*before.versions, *now.versions}):
        was, is_now = (stack.versions.get(name, "absent") for stack in (before, now))
        if was != is_now:
            yield f"{name} was {was}, is {is_now}"
    for field in fields(Stack):
        was, is_now = getattr(before, field.name), getattr(now, field.name)
        if field.name != "versions" and was != is_now:
            yield f"{field.name} was {_plain(was)}, is {_plain(is_now)}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        value = [f"{name} {of}" for name, of in value.items()]
    if isinstance(value, tuple | list):
        value = ", ".join(getattr(one, "name", str(one)) for one in value)
    return str(value) or "nothing"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
