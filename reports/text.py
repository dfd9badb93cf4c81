"""The summary of a run for a terminal: failures first, each with its values and the command that reproduces it."""

from collections.abc import Iterator

from matrix.verdict import Verdict
from reports.document import Record, Report

_FAILURES_SHOWN = 50


def reproducing_command(cell_id: str, seed: int = 0) -> str:
    """The command that writes and runs a standalone script for the cell."""
    seeded = f" --seed {seed}" if seed else ""
    return f"python -m matrix reproduce {cell_id}{seeded} > reproduce.py && python reproduce.py"


def headline(report: Report) -> str:
    """The sentence that a person needs first."""
    total = len(report.records)
    documented = sum(record.verdict.is_documented for record in report.records)
    executed = sum(record.verdict.executed for record in report.records)
    parts = [f"{total:,} cells, {executed:,} executed: {documented:,} as documented"]
    if report.waived:
        parts.append(f"{report.waived:,} known upstream faults")
    failing: dict[str, int] = {}
    for record in report.failures:
        word = "required but unavailable" if record.demanded else record.verdict.value
        failing[word] = failing.get(word, 0) + 1
    parts += [f"{count:,} {word}" for word, count in sorted(failing.items())]
    return ", ".join(parts)


def summary_lines(report: Report) -> Iterator[str]:
    """Failures, other problems, the table of verdicts by backend, and the headline."""
    failures = report.failures
    for record in failures[:_FAILURES_SHOWN]:
        yield from failure_lines(record)
    if len(failures) > _FAILURES_SHOWN:
        yield f"... and {len(failures) - _FAILURES_SHOWN} more failures; the report has them all"
    for problem in [*report.problems, *report.unreadable]:
        yield f"PROBLEM {problem}"
    if failures or report.problems or report.unreadable:
        yield ""
    yield from verdict_table(report)
    yield ""
    yield headline(report)


def failure_lines(record: Record) -> Iterator[str]:
    """One failing cell: verdict, reason, what was expected, the reproducing command."""
    required = f" (--require {','.join(record.demanded)})" if record.demanded else ""
    yield f"{record.verdict.upper()}{required} {record.cell}"
    yield f"    {record.reason}"
    yield f"    expected {record.expectation.outcome}: {record.expectation.source}"
    yield f"    {reproducing_command(record.cell, record.seed)}"


def verdict_table(report: Report) -> Iterator[str]:
    """Rows are backends, columns the verdicts that occur."""
    verdicts = [verdict for verdict in Verdict if report.counts.get(verdict.value)]
    rows: dict[str, dict[Verdict, int]] = {}
    for record in report.records:
        counts = rows.setdefault(backend_of(record), {})
        counts[record.verdict] = counts.get(record.verdict, 0) + 1
    width = max((len(name) for name in rows), default=0)
    yield " " * width + "".join(f"  {verdict.value:>13}" for verdict in verdicts)
    for name, counts in rows.items():
        yield f"{name:<{width}}" + "".join(f"  {counts.get(verdict, 0) or '':>13}" for verdict in verdicts)


def backend_of(record: Record) -> str:
    """Attention implementation and, where pinned, kernel: the columns of the matrix."""
    kernel = record.axes["sdpa_kernel"]
    return record.axes["attention"] + ("" if kernel == "unpinned" else f" ({kernel})")
