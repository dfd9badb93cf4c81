"""A report as files."""

import contextlib
import os
from pathlib import Path

from reports.compact import to_json
from reports.document import Report
from reports.files import write_whole
from reports.html import render_html
from reports.markdown import summary_markdown
from reports.packed import plain_name


def write_json(report: Report, folder: Path) -> None:
    """Write `matrix.json` into the folder."""
    write_whole(folder / "matrix.json", to_json(report))


def write_summary(report: Report, folder: Path) -> None:
    """Write `summary.md` into the folder, and add it to the summary of the CI job where there is one.

    A job whose summary cannot be written to has its report all the same.
    """
    text = summary_markdown(report)
    write_whole(folder / "summary.md", text)
    of_job = os.environ.get("GITHUB_STEP_SUMMARY")
    if of_job:
        with contextlib.suppress(OSError), Path(of_job).open("a", encoding="utf-8") as summary:
            summary.write(text)


def write_html(report: Report, folder: Path, document: str = "matrix.json") -> Path:
    """Write the page of that document into the folder, and say where: `index.html`, of NAME.json `NAME.html`."""
    name = plain_name(Path(document)).removesuffix(".json")
    page = folder / f"{'index' if name == 'matrix' else name}.html"
    write_whole(page, render_html(report, document=document))
    return page
