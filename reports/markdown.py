"""A run in a few lines of Markdown, for the summary of a CI job or a comment on a pull request."""

import html
import re
from collections.abc import Iterator

from reports.causes import failure_groups, row_groups
from reports.declared import disagreement_line
from reports.document import Report
from reports.text import headline_parts, reproducing_command, row_command, verdicts_by_backend

_FAILURES_SHOWN = 20
_LONGEST = 300
# What Markdown, or the site that shows it, would take for more than text: links, tables, code, emphasis, mentions.
_ACTIVE = {ord(character): f"&#{ord(character)};" for character in "|`[]()*_~@#!\\:"}


# What GitHub makes a link of without any mark.
_LINKED = re.compile(r"\b(www|GH)([.-])", re.IGNORECASE)


def summary_markdown(report: Report) -> str:
    """Headline, failures with the commands that repeat them, other problems, and verdicts by backend."""
    return "\n".join(_lines(report)) + "\n"


def literal(text: str) -> str:
    """A text of one line in which nothing is markup."""
    line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    shortened = line if len(line) <= _LONGEST else line[: _LONGEST - 4] + " ..."
    # Entities first: what they are made of must not be taken for markup again.
    literal = html.escape(shortened, quote=False).replace("&", "\0").translate(_ACTIVE).replace("\0", "&")
    return _LINKED.sub(lambda found: f"{found[1]}&#{ord(found[2])};", literal)


def _lines(report: Report) -> Iterator[str]:
    stack = report.run.stack
    device = stack.gpus[0].name if stack.gpus else stack.device.value
    libraries = ", ".join(f"{name} {version}" for name, version in stack.versions.items())
    yield "## Inference support matrix"
    yield ""
    yield from (f"- {literal(part)}" for part in (*headline_parts(report), *disagreement_line(report)))
    yield f"- {literal(f'{device}, {libraries}')}"
    failing = []
    for group in failure_groups(report.failures):
        first, count = group.first, len(group.records)
        named = first.cell if count == 1 else f"{first.cell} and {count - 1} more"
        command = reproducing_command(first.cell, first.seed, report.run.checkpoints)
        failing.append((first.verdict.value, named, first.reason, command))
    for rows in row_groups(report.failing_rows):
        row, more = rows.first, len(rows.rows) - 1
        failing.append((row.word, f"{row.name} and {more} more" if more else row.name, row.reason, row_command(row)))
    if failing:
        yield from ("", "| fails as | cell or row | found | again |", "|---|---|---|---|")
        for parts in failing[:_FAILURES_SHOWN]:
            yield f"| {' | '.join(map(literal, parts))} |"
    if len(failing) > _FAILURES_SHOWN:
        yield from ("", f"... and {len(failing) - _FAILURES_SHOWN} more; the report has them all.")
    problems = [*report.problems, *report.unreadable]
    if problems:
        yield ""
        yield from (f"- problem: {literal(problem)}" for problem in problems[:_FAILURES_SHOWN])
    if report.records:
        yield from _by_backend(report)


def _by_backend(report: Report) -> Iterator[str]:
    verdicts = list(dict.fromkeys(record.verdict for record in report.records))
    yield from ("", f"| backend | {' | '.join(verdict.value for verdict in verdicts)} |")
    yield f"|---|{'---:|' * len(verdicts)}"
    for backend, counts in verdicts_by_backend(report).items():
        yield f"| {literal(backend)} | {' | '.join(str(counts[verdict] or '') for verdict in verdicts)} |"
