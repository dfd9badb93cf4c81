"""A report as files: matrix.json and index.html."""

from pathlib import Path

from reports.document import Report
from reports.html import render_html


def write_report(report: Report, folder: Path) -> None:
    """Write `matrix.json` and `index.html` into the folder."""
    (folder / "matrix.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(render_html(report), encoding="utf-8")
