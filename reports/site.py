"""Many reports as one static site: an index, a page for each run, support as intervals, any two runs compared."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from matrix.errors import UsageError
from reports.compact import json_schema
from reports.diff import compare
from reports.document import Report
from reports.files import write_whole
from reports.html import render_diff, render_html, render_index, render_stacks, render_support
from reports.runs import Collection, Comparison
from reports.support import all_series, support_data

_COMPARED = 40  # runs, which make 780 pages


def publish(found: Collection, site: Path) -> list[Path]:
    """Write the site, and say which pages it has.

    Raises:
        UsageError: the site cannot be written to.
    """
    try:
        return list(_pages(found, site))
    except OSError as error:
        raise UsageError(f"{site}: cannot be written to: {error.strerror or error}") from None


def _pages(found: Collection, site: Path) -> Iterator[Path]:
    for folder in (site, site / "runs", site / "diff"):
        if folder.is_symlink() and folder != site:  # what is written there would be written over elsewhere
            raise UsageError(f"{folder}: is a link to another folder; remove it, or name another --output")
        folder.mkdir(parents=True, exist_ok=True)
    for run in found.runs:
        copy = site / "runs" / run.document
        write_whole(copy, run.source.read_bytes())
        text = render_html(run.report, document=run.document, home="../index.html")
        yield _written(site / "runs" / f"{run.name}.html", text)
    compared: dict[tuple[str, str], Comparison] = {}
    newest = {run.name for run in sorted(found.runs, key=lambda run: run.report.run.started)[-_COMPARED:]}
    for before, after in combinations([run for run in found.runs if run.name in newest], 2):
        if _have_something_in_common(before.report, after.report):
            pair = Comparison(before, after, compare(before.report, after.report))
            compared[before.name, after.name] = pair
            yield _written(
                site / "diff" / f"{pair.name}.html",
                render_diff(pair.diff, before.report, after.report, pages=(before.name, after.name)),
            )
    series = all_series(run.report for run in found.runs)
    yield _written(site / "support.html", render_support(series))
    _written(site / "support.json", json.dumps(support_data(series), indent=1) + "\n")
    _written(site / "matrix.schema.json", json.dumps(json_schema(), indent=1) + "\n")
    has_guide = any(run.report.run.guide for run in found.runs)
    if has_guide:
        yield _written(site / "guide.html", render_stacks((run.report for run in found.runs), home="index.html"))
    yield _written(site / "index.html", render_index(found, compared, most=_COMPARED, has_guide=has_guide))


def _have_something_in_common(one: Report, other: Report) -> bool:
    cells, rows = {record.cell for record in one.records}, {row.key for row in one.rows}
    return any(record.cell in cells for record in other.records) or any(row.key in rows for row in other.rows)


def _written(path: Path, text: str) -> Path:
    write_whole(path, text)
    return path
