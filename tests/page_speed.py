"""How fast pages are, of a run and the front of a site, in the Chromium of this machine: `python -m tests.page_speed`.

A page of 1,000 cells, one of 10,000, one of 450 architectures with 25 cells each, that of the whole zoo and the front,
opened and used in turns, so that what else the machine does meets all of them. The cells are those of the full plan, or
of made-up architectures, each with the body of a cell that was measured on an H100; the zoo is as it was measured. The
front is that of all published reports, or of those of a folder that is named.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from matrix.architectures import load_architectures
from matrix.plan import make_plan
from reports.document import End, Report, make_report
from reports.front import facts_of, front_of
from reports.html import render_html, render_index
from reports.reading import read_report
from reports.runs import Collection, collect
from reports.support import all_series
from tests.conftest import ARGUMENTS
from tests.zoo import zoo_report

_SOURCE = Path(__file__).parent.parent / "reports/published/nvidia-h100-torch2.11.0-transformers5.17.0.json.gz"
_ZOO = _SOURCE.with_name("nvidia-h100-torch2.11.0-transformers5.17.0-zoo.json.gz")
_SIZES = (1_000, 10_000)
_ARCHITECTURES = 450
_ROUNDS = 9
_REPEATED = 3  # the first use of a page is the slowest: code is not compiled yet

# From the stroke of a key to the frame that shows what it changed.
_UNTIL_PAINTED = """async ([selector, value]) => {
  const control = document.querySelector(selector);
  if (!control?.offsetParent) return null;
  const before = performance.now();
  if (control instanceof HTMLButtonElement || control instanceof HTMLAnchorElement) {
    control.click();
  } else {
    control.value = value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
  }
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - before;
}"""
_ACTIONS = {
    "filter by dtype": [("select[name=dtype]", "bfloat16"), ("select[name=dtype]", "")],
    "filter by text": [("[name=q]", "flash 1"), ("[name=q]", "")],
    "filter by backend": [("select[name=backend]", "flash_attention_2"), ("select[name=backend]", "")],
    "filter by family": [("select[name=family]", "text encoder"), ("select[name=family]", "")],
    "pivot": [("[name=rows]", "workload"), ("[name=rows]", "architecture")],
    "pivot on two axes": [("[name=rows2]", "dtype"), ("[name=rows2]", "")],
    "gather by traits": [("[name=gather]", "traits"), ("[name=gather]", "")],
    "unfold all, fold all": [("#unfold", ""), ("#unfold", "")],
    "ask about a type": [("#type", "llama"), ("#type", "")],
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
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length > 0")
    found = {
        "first paint": [page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")],
        "ready for input": [page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")],
    }
    page.evaluate("document.getElementById('matrix')?.scrollIntoView()")
    page.evaluate("new Promise((done) => requestIdleCallback(done))")
    for name, steps in _ACTIONS.items():
        times = [page.evaluate(_UNTIL_PAINTED, list(step)) for step in steps * _REPEATED]
        found[name] = [time for time in times if time is not None]
    page.close()
    return found


def _front(found: Collection) -> str:
    reports = [run.report for run in found.runs]
    measured = front_of(all_series(reports), found.runs)
    return render_index(found, {}, (), measured, facts_of(reports), most=0, has_guide=True)


def main(published: Path) -> None:
    """Print medians and the worst, in milliseconds; nothing where a page has no such control."""
    source = read_report(_SOURCE)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        reports = {f"{size:,} cells": large_report(size, source) for size in _SIZES}
        reports[f"{_ARCHITECTURES} architectures"] = zoo_report(_ARCHITECTURES, source)
        reports["the zoo"] = read_report(_ZOO)
        pages = {title: Path(folder) / f"{number}.html" for number, title in enumerate(reports)}
        for title, path in pages.items():
            path.write_text(render_html(reports[title]), encoding="utf-8")
        found = collect(published, Path(folder) / "site")
        pages["the front"] = Path(folder) / "front.html"
        pages["the front"].write_text(_front(found), encoding="utf-8")
        counts = {title: len(report.records) for title, report in reports.items()}
        counts["the front"] = sum(len(run.report.records) for run in found.runs)
        for title, path in pages.items():
            print(f"{title}: {counts[title]:,} cells, {path.stat().st_size / 2**20:.1f} MiB")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))

        def opened(path: Path) -> Any:
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(path.as_uri())
            return page

        visits: dict[str, list[dict[str, list[float]]]] = {title: [] for title in pages}
        for _ in range(_ROUNDS):
            for title, path in pages.items():
                visits[title].append(_measured(lambda path=path: opened(path)))  # type: ignore[misc]
        browser.close()
    print(f"{f'{_ROUNDS} visits, ms: median (worst)':<34}" + "".join(f"{title:>20}" for title in pages))
    for name in ("first paint", "ready for input", *_ACTIONS):
        columns = [[time for visit in found for time in visit[name]] for found in visits.values()]
        shown = [f"{median(times):.0f} ({max(times):.0f})" if times else "–" for times in columns]
        print(f"{name:<34}" + "".join(f"{text:>20}" for text in shown))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else _SOURCE.parent)
