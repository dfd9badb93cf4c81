"""What a run found, told again in a terminal: of one cell, and of all known faults that give wrong numbers."""

from collections.abc import Iterator
from pathlib import Path

from matrix.errors import UsageError, quoted
from matrix.verdict import Verdict, begins
from reports.document import Record, Report
from reports.explained import NOT_READ, accounts, why_wrong
from reports.html import title_of
from reports.lines import one_line
from reports.packed import report_file
from reports.reading import read_report
from reports.side import fault_of, word_of
from reports.views import known_faults

_NAMED = 3  # of many cells that nobody read


def read_cell(source: Path, cell_id: str) -> tuple[Report, Record]:
    """A run, and the cell as it found it.

    Raises:
        UsageError: the source is no report, or the run did not measure the cell.
    """
    report = read_report(report_file(source))
    found = next((record for record in report.records if record.cell == cell_id), None)
    if found is None or found.verdict is Verdict.MISSING:
        raise UsageError(f"--report {source}: that run did not measure {quoted(cell_id)}")
    return report, found


def found_lines(report: Report, record: Record) -> Iterator[str]:
    """One cell: its verdict, why, and of wrong numbers the dials and the place where they begin as one diagnosis."""
    yield one_line(f"found by the run on {title_of(report)}: {word_of(record)}")
    yield f"  {one_line(record.reason)}"
    if record.verdict is Verdict.INACCURATE:
        unread = "; ".join([f"its dials were {NOT_READ}", *begins(record.observation.origin)])
        yield f"  diagnosis: {one_line(why_wrong(record) or unread)}"


def fault_lines(report: Report) -> Iterator[str]:
    """Each known fault that gives wrong numbers, and what the dials say of its cells: of each where they were read."""
    for fault in known_faults(report.records):
        told = accounts(fault.records)
        if told:
            yield one_line(f"known: {fault_of(fault.waived)}")
        for one in told:
            yield f"  {one_line(one.line)}"
            if one.is_read:
                yield from (f"    {record.cell}: {one_line(why_wrong(record))}" for record in one.records)
            else:
                more = f" and {len(one.records) - _NAMED:,} more" if len(one.records) > _NAMED else ""
                yield f"    {', '.join(record.cell for record in one.records[:_NAMED])}{more}"
