"""Many reports as one static site: a front that answers, a page for each run, intervals, runs compared."""

import json
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path

from matrix.errors import UsageError
from reports.compact import json_schema
from reports.diff import compare
from reports.document import Report
from reports.files import write_whole
from reports.front import facts_of, front_of
from reports.html import render_advice, render_diff, render_html, render_index, render_stacks, render_support
from reports.manifest import NAME, digest_of, made_before, manifest_text, take_away
from reports.runs import Collection, Comparison, Published
from reports.support import all_series, support_data

_COMPARED = 24  # runs, which make 276 pages
_SWEEP = 4  # of more releases than these only neighbours are compared, and the oldest and newest with all others


def publish(found: Collection, site: Path) -> list[Path]:
    """Write the site, take away what an earlier one had of runs that are gone, and say which pages it has.

    Raises:
        UsageError: the site cannot be written to.
    """
    try:
        before = made_before(site)
        pages = _Pages(site)
        try:
            _write(found, pages)
        finally:  # of one that is cut off both are known: what was there, and what is there
            if site.is_dir():
                write_whole(site / NAME, manifest_text(before | pages.digests))
        there = {path.lower() for path in pages.digests}  # some file systems do not tell A from a
        take_away(site, {path: digest for path, digest in before.items() if path.lower() not in there})
        write_whole(site / NAME, manifest_text(pages.digests))
    except OSError as error:
        raise UsageError(f"{site}: cannot be written to: {error.strerror or error}") from None
    return pages.html


class _Pages:
    """What was written so far."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self.digests: dict[str, str] = {}
        self.html: list[Path] = []

    def write(self, path: str, content: str | bytes) -> None:
        """Write one file."""
        content = content.encode("utf-8") if isinstance(content, str) else content
        write_whole(self.site / path, content)
        self.digests[path] = digest_of(content)
        if path.endswith(".html"):
            self.html.append(self.site / path)


def _write(found: Collection, pages: _Pages) -> None:
    site = pages.site
    folders = [site, site / "runs", site / "diff", *([site / "advice"] if found.advices else [])]
    for folder in folders:
        if folder.is_symlink() and folder != site:  # what is written there would be written over elsewhere
            raise UsageError(f"{folder}: is a link to another folder; remove it, or name another --output")
        folder.mkdir(parents=True, exist_ok=True)
    for run in found.runs:
        pages.write(f"runs/{run.document}", run.source.read_bytes())
        pages.write(f"runs/{run.name}.html", render_html(run.report, document=run.document, home="../index.html"))
    for one in found.advices:
        pages.write(f"advice/{one.name}.json", one.source.read_bytes())
        pages.write(f"advice/{one.name}.html", render_advice(one.advice, home="../index.html"))
    compared: dict[tuple[str, str], Comparison] = {}
    steps: list[Comparison] = []
    for before, after, of_a_sweep in _pairs(found.runs):
        if _have_something_in_common(before.report, after.report):
            pair = Comparison(before, after, compare(before.report, after.report))
            if of_a_sweep:
                steps.append(pair)
            else:
                compared[before.name, after.name] = pair
            text = render_diff(pair.diff, before.report, after.report, pages=(before.name, after.name))
            pages.write(f"diff/{pair.name}.html", text)
    series = all_series(run.report for run in found.runs)
    pages.write("support.html", render_support(series))
    pages.write("support.json", json.dumps(support_data(series), indent=1) + "\n")
    pages.write("matrix.schema.json", json.dumps(json_schema(), indent=1) + "\n")
    has_guide = any(run.report.run.guide for run in found.runs)
    if has_guide:
        pages.write("guide.html", render_stacks((run.report for run in found.runs), home="index.html"))
    front = front_of(series, found.runs)
    facts = facts_of(run.report for run in found.runs)
    index = render_index(found, compared, steps, front, facts, most=_COMPARED, has_guide=has_guide)
    pages.write("index.html", index)


def _pairs(runs: Sequence[Published]) -> Iterator[tuple[Published, Published, bool]]:
    """What is compared: any two of the newest, but of a sweep over releases only its ends; there neighbours (True)."""
    alike: dict[tuple[object, ...], list[Published]] = {}
    for run in runs:
        made = run.report.run
        alike.setdefault((run.device, made.profile, made.narrowed, len(made.planned)), []).append(run)
    sweeps = [sweep for sweep in alike.values() if len({str(run.report.run.stack.versions) for run in sweep}) > _SWEEP]
    between = {run.name for sweep in sweeps for run in sweep[1:-1]}
    others = [run for run in runs if run.name not in between]
    newest = {run.name for run in sorted(others, key=lambda run: run.report.run.started)[-_COMPARED:]}
    for before, after in combinations(runs, 2):
        if {before.name, after.name} <= newest:
            yield before, after, False
    for sweep in sweeps:
        for before, after in pairwise(sweep):
            yield before, after, True


def _have_something_in_common(one: Report, other: Report) -> bool:
    cells, rows = {record.cell for record in one.records}, {row.key for row in one.rows}
    return any(record.cell in cells for record in other.records) or any(row.key in rows for row in other.rows)
