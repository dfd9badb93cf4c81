"""A report as files."""

from pathlib import Path

from reports.document import Report
from reports.html import render_html


def write_json(report: Report, folder: Path) -> None:
    """Write `matrix.json` into the folder."""
    (folder / "matrix.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


def write_html(report: Report, folder: Path, stem: str = "index") -> Path:
    """Write the page into the folder, and say where."""
    page = folder / f"{stem}.html"
    page.write_text(render_html(report), encoding="utf-8")
    return page
