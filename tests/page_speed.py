"""How fast the page of a run is, in the Chromium of this machine: `python -m tests.page_speed`.

A page of 10,000 cells beside one of 1,000, opened and used in turns, so that what else the machine does meets both.
The cells are those of the full plan, each with the body of a cell that was measured on an H100.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from matrix.architectures import load_architectures
from matrix.plan import make_plan
from reports.document import End, Report, make_report
from reports.html import render_html
from reports.reading import read_report
from tests.conftest import ARGUMENTS

_SOURCE = Path(__file__).parent.parent / "reports/published/nvidia-h100-torch2.11.0-transformers5.17.0.json.gz"
_SIZES = (1_000, 10_000)
_ROUNDS = 9
_REPEATED = 3  # the first use of a page is the slowest: code is not compiled yet

# From the stroke of a key to the frame that shows what it changed.
_UNTIL_PAINTED = """async ([selector, value]) => {
  const control = document.querySelector(selector);
  const before = performance.now();
  control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - before;
}"""
_ACTIONS = {
    "filter by dtype": [("select[name=dtype]", "bfloat16"), ("select[name=dtype]", "")],
    "filter by text": [("[name=q]", "flash llama"), ("[name=q]", "")],
    "pivot": [("[name=rows]", "workload"), ("[name=rows]", "architecture")],
    "pivot on two axes": [("[name=rows2]", "dtype"), ("[name=rows2]", "")],
}


def large_report(size: int, source: Report) -> Report:
    """A report of so many cells of the full plan."""
    plan = make_plan("full", load_architectures())
    cells = [plan[number * len(plan) // size] for number in range(size)]
    measured: dict[tuple[str, str], list[Any]] = {}
    for record in source.records:
        measured.setdefault((record.axes["attention"], record.axes["sdpa_kernel"]), []).append(record)
    records = []
    for number, cell in enumerate(cells):
        axes = dict(cell.axis_values())
        alike = measured[axes["attention"], axes["sdpa_kernel"]]
        records.append(alike[number % len(alike)].model_copy(update={"cell": cell.id, "axes": axes}))
    run = source.run.model_copy(update={"planned": [cell.id for cell in cells], "planned_rows": []})
    return make_report(run, records, rows=source.rows, power=source.power, end=End(finished=source.finished))


def _measured(open_page: Callable[[], Any]) -> dict[str, list[float]]:
    """Milliseconds of one visit: each action there and back, several times."""
    page = open_page()
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
    found = {
        "first paint": [page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")],
        "ready for input": [page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")],
    }
    page.evaluate("document.getElementById('matrix').scrollIntoView()")
    page.evaluate("new Promise((done) => requestIdleCallback(done))")
    for name, steps in _ACTIONS.items():
        found[name] = [page.evaluate(_UNTIL_PAINTED, list(step)) for step in steps * _REPEATED]
    page.close()
    return found


def main() -> None:
    """Print medians and the worst, in milliseconds, and the ratio of the large page to the small one."""
    source = read_report(_SOURCE)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = {size: Path(folder) / f"{size}.html" for size in _SIZES}
        for size, path in pages.items():
            path.write_text(render_html(large_report(size, source)), encoding="utf-8")
            print(f"{size:,} cells: {path.stat().st_size / 2**20:.1f} MiB")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))

        def opened(path: Path) -> Any:
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(path.as_uri())
            return page

        visits: dict[int, list[dict[str, list[float]]]] = {size: [] for size in _SIZES}
        for _ in range(_ROUNDS):
            for size, path in pages.items():
                visits[size].append(_measured(lambda path=path: opened(path)))  # type: ignore[misc]
        browser.close()
    small, large = (visits[size] for size in _SIZES)
    print(f"{f'{_ROUNDS} visits, ms: median (worst)':<34}{_SIZES[0]:>14,}{_SIZES[1]:>14,}   ratio")
    for name in small[0]:
        columns = [[time for visit in of_size for time in visit[name]] for of_size in (small, large)]
        shown = [f"{median(times):.0f} ({max(times):.0f})" for times in columns]
        print(f"{name:<34}{shown[0]:>14}{shown[1]:>14}{median(columns[1]) / median(columns[0]):>8.2f}")


if __name__ == "__main__":
    main()
