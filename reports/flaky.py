"""Cells that came and went: in how many of several runs each was flaky."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from matrix.verdict import Verdict
from reports.runs import Published

_SHOWN = 20


@dataclass(frozen=True)
class Flaky:
    """One cell, in all runs that executed it."""

    cell: str
    among: tuple[str, ...]  # the names of the runs in which it was flaky
    tried: int  # runs

    @property
    def words(self) -> str:
        """How often."""
        return f"in {len(self.among)} of {self.tried} {'run' if self.tried == 1 else 'runs'}"


def flaky_cells(runs: Iterable[Published]) -> list[Flaky]:
    """The cells that were flaky in some run, the most frequent first."""
    tried: dict[str, int] = {}
    among: dict[str, list[str]] = {}
    for run in runs:
        for record in run.report.records:
            if record.verdict.executed:
                tried[record.cell] = tried.get(record.cell, 0) + 1
            if record.verdict is Verdict.FLAKY:
                among.setdefault(record.cell, []).append(run.name)
    found = [Flaky(cell, tuple(names), tried[cell]) for cell, names in among.items()]
    return sorted(found, key=lambda one: (-len(one.among) / one.tried, -len(one.among), one.cell))


def flaky_lines(found: list[Flaky]) -> Iterator[str]:
    """The same for a terminal, if there are any."""
    yield from (f"flaky: {one.cell} {one.words} that tried it" for one in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"flaky: {len(found) - _SHOWN} more cells; the site has them all"
