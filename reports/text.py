"""The summary of a run for a terminal: failures first, each with its values and the command that reproduces it."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from matrix.gpu_growth import LIMIT_MIB
from matrix.rows import Family, RowOutcome
from matrix.stack import Stack
from matrix.verdict import Verdict, left_unquantised, weakness
from reports.causes import Group, RowGroup, failure_groups, row_groups
from reports.declared import disagreement_line
from reports.document import Report, RowRecord, backend_of
from reports.explained import group_line, known_line

# One of a family, and several.
FAMILY_NAMES = {
    Family.REGRESSION: ("reported failure", "reported failures"),
    Family.PROPERTY: ("kernel property", "kernel properties"),
    Family.GUIDE: ("recipe of the guide", "recipes of the guide"),
    Family.CLAIM: ("claim of the guide", "claims of the guide"),
    Family.EAGER: ("architecture under eager attention", "architectures under eager attention"),
}
_FAILURES_SHOWN = 50
_OTHERS_SHOWN = 6
_TESTS = {
    Family.REGRESSION: "conformance/test_regressions.py::test_regression[{}]",
    Family.PROPERTY: "conformance/test_sdpa_kernels.py::test_{}",
    Family.GUIDE: "conformance/test_guide.py::test_guide[{}]",
    Family.CLAIM: "conformance/test_claims.py::test_claim[{}]",
    Family.EAGER: "conformance/test_eager.py::test_eager[{}]",
}


def reproducing_command(cell_id: str, seed: int = 0, checkpoints: Mapping[str, str] = MappingProxyType({})) -> str:
    """The command that writes and runs a standalone script for the cell, on the user's checkpoint if it ran on one."""
    architecture = cell_id.partition("-")[0]
    options = f" --seed {seed}" if seed else ""
    if architecture in checkpoints:
        options += f" --checkpoint {shlex.quote(f'{architecture}={checkpoints[architecture]}')}"
    return f"python -m matrix reproduce {cell_id}{options} > reproduce.py && python reproduce.py"


def row_command(row: RowRecord) -> str:
    """The command that measures the row again."""
    return f"python -m pytest {shlex.quote(_TESTS[row.family].format(row.name))}"


def headline(report: Report) -> str:
    """The sentence that a person needs first."""
    return "; ".join(headline_parts(report))


def headline_parts(report: Report) -> Iterator[str]:
    """The same in parts: the cells, then each family of rows that was planned."""
    if report.cut_off:
        yield "CUT OFF before its end"
    if report.records or not report.rows:
        yield _of_cells(report)
    yield from row_headlines(report)


def row_headlines(report: Report) -> Iterator[str]:
    """What became of each family of rows that was planned."""
    for family in Family:
        rows = [row for row in report.rows if row.family is family]
        if rows:
            yield _of_rows(family, rows)


def _of_cells(report: Report) -> str:
    total = len(report.records)
    documented = sum(record.verdict.is_documented for record in report.records)
    executed = sum(record.verdict.executed for record in report.records)
    parts = [f"{total:,} cells, {executed:,} executed: {documented:,} as documented"]
    if report.waived:
        parts.append(f"{report.waived:,} known upstream faults")
    failing: dict[str, int] = {}
    for record in report.failures:
        failing[record.word] = failing.get(record.word, 0) + 1
    parts += [f"{count:,} {word}" for word, count in sorted(failing.items())]
    return ", ".join(parts)


def _of_rows(family: Family, rows: list[RowRecord]) -> str:
    counts = Counter(row.outcome for row in rows)
    known = Counter(row.outcome for row in rows if row.waived is not None)
    parts = []
    for outcome in RowOutcome:
        if count := counts[outcome]:
            # "20 properties hold", but "1 property holds".
            word = "hold" if outcome.of(family) == "holds" and count > 1 else outcome.of(family)
            excused = "known" if known[outcome] == count else f"{known[outcome]:,} known"
            parts.append(f"{count:,} {word}{f' ({excused})' if known[outcome] else ''}")
    one, several = FAMILY_NAMES[family]
    return f"{len(rows):,} {one if len(rows) == 1 else several}: {', '.join(parts)}"


def summary_lines(report: Report) -> Iterator[str]:
    """Failures, other problems, verdicts by backend, flags that are contradicted, and the headline in its parts."""
    failures, failing_rows = failure_groups(report.failures), row_groups(report.failing_rows)
    for group in failures[:_FAILURES_SHOWN]:
        yield from failure_lines(group, report.run.checkpoints)
    if len(failures) > _FAILURES_SHOWN:
        yield f"... and {len(failures) - _FAILURES_SHOWN} more causes of failures; the report has them all"
    for rows in failing_rows[:_FAILURES_SHOWN]:
        yield from row_group_lines(rows)
    if len(failing_rows) > _FAILURES_SHOWN:
        yield f"... and {len(failing_rows) - _FAILURES_SHOWN} more causes of rows that fail; the report has them all"
    for problem in [*report.problems, *report.unreadable]:
        yield f"PROBLEM {problem}"
    if failures or failing_rows or report.problems or report.unreadable:
        yield ""
    if report.records or not report.rows:
        yield from verdict_table(report)
        yield ""
    yield from disagreement_line(report)
    yield from weak_line(report)
    yield from half_quantised_line(report)
    yield from growth_lines(report)
    yield from known_line(report)
    yield from headline_parts(report)


def weak_line(report: Report) -> Iterator[str]:
    """How many supported cells are of fixtures too weak to show a softmax scale that is wrong by 10 %, if any are."""
    supported = [record for record in report.records if record.verdict is Verdict.SUPPORTED]
    weak = [record for record in supported if any(weakness(record.observation))]
    if weak:
        of = len({record.axes["architecture"] for record in weak})
        share = f"{len(weak):,} of {len(supported):,} supported cells, of {of} architectures"
        yield f"weak: in {share}, a softmax scale wrong by 10 % would pass"


def half_quantised_line(report: Report) -> Iterator[str]:
    """How many supported quantised cells leave stacked parameters as they are, if any do."""
    quantised = [r for r in report.records if r.verdict is Verdict.SUPPORTED and r.axes["quantisation"] != "none"]
    left = [record for record in quantised if any(left_unquantised(record.observation.evidence))]
    if left:
        most = max(left, key=lambda record: record.observation.evidence.unquantised_stacked)
        share, name = most.observation.evidence.unquantised_stacked, most.axes["architecture"]
        yield (
            f"left unquantised: {len(left):,} of {len(quantised):,} supported quantised cells keep experts or other "
            f"stacked parameters as they are, up to {share:.0%} of the bytes ({name})"
        )


def growth_lines(report: Report) -> Iterator[str]:
    """The processes whose cells left much on a GPU, if there are any."""
    for process in report.processes:
        had = process.memory
        if had is not None and had.grown is not None and had.grown >= LIMIT_MIB:
            yield (
                f"left on the GPU: what {process.worker or 'this process'} holds beside what torch knows of grew by "
                f"{had.grown:,.0f} MiB in {had.cells or 0:,} cells that had nothing new to load"
            )


def failure_lines(group: Group, checkpoints: Mapping[str, str]) -> Iterator[str]:
    """Cells that fail of one cause: the one that is shortest to reproduce with its reason, then which others."""
    record = group.first
    required = f" (--require {','.join(record.demanded)})" if record.demanded else ""
    count = f" and {len(group.records) - 1} more" if len(group.records) > 1 else ""
    yield f"{record.verdict.upper()}{required} {record.cell}{count}"
    yield f"    {record.reason}"
    yield from (f"    {line}" for line in group_line(group.records))
    yield f"    expected {record.expectation.outcome}: {record.expectation.source}"
    yield from _others(other.cell for other in group.records[1:])
    yield f"    {reproducing_command(record.cell, record.seed, checkpoints)}"


def row_group_lines(group: RowGroup) -> Iterator[str]:
    """Rows that fail of one cause: the first in full, then which others."""
    head, *lines = row_lines(group.first)
    others = [row.name for row in group.rows[1:]]
    yield f"{head} and {len(others)} more" if others else head
    yield from lines
    yield from _others(others)


def _others(names: Iterable[str]) -> Iterator[str]:
    listed = list(names)
    if listed:
        rest = f" and {len(listed) - _OTHERS_SHOWN} more" if len(listed) > _OTHERS_SHOWN else ""
        yield f"    the same: {', '.join(listed[:_OTHERS_SHOWN])}{rest}"


def row_lines(row: RowRecord) -> Iterator[str]:
    """One failing row: outcome, reason, the smallest example, where it was reported, the command that repeats it."""
    yield f"{row.word.upper()} {row.name}"
    for text in (row.reason, row.example, *row.urls, row_command(row)):
        # Reasons and examples come in several lines.
        yield from (f"    {line}".rstrip() for line in text.splitlines())


def verdict_table(report: Report) -> Iterator[str]:
    """Rows are backends, columns the verdicts that occur."""
    verdicts = [verdict for verdict in Verdict if report.counts.get(verdict.value)]
    rows = verdicts_by_backend(report)
    width = max((len(name) for name in rows), default=0)
    yield " " * width + "".join(f"  {verdict.value:>13}" for verdict in verdicts)
    for name, counts in rows.items():
        yield f"{name:<{width}}" + "".join(f"  {counts.get(verdict, 0) or '':>13}" for verdict in verdicts)


def verdicts_by_backend(report: Report) -> dict[str, Counter[Verdict]]:
    """How many cells of each backend have each verdict."""
    found: dict[str, Counter[Verdict]] = {}
    for record in report.records:
        found.setdefault(backend_of(record), Counter())[record.verdict] += 1
    return found


def device_of(stack: Stack) -> str:
    """The GPU that a run was made on, or CPU."""
    return stack.gpus[0].name if stack.gpus else stack.device.value.upper()
