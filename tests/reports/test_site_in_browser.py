"""The pages of a site and of a comparison in a real browser."""

import json
from pathlib import Path
from typing import Any

import pytest

from reports.diff import compare
from reports.differences import Kind, groups
from reports.document import Report
from reports.gate import judge
from reports.html import render_diff, render_gate, render_index, render_stacks, render_support
from reports.reading import read_report
from reports.runs import Collection, Comparison, Published, collect
from reports.site import publish
from reports.support import all_series
from tests.builders import ROOT
from tests.conftest import Open
from tests.reports.test_html import everything, poisoned
from tests.reports.test_page_in_browser import SCRIPTS, serious

PUBLISHED = ROOT / "reports" / "published"
NAMES = [f"cpu-torch2.13.0-transformers{version}-guide" for version in ("4.48.3", "4.57.6", "5.23.0")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of three real runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name in NAMES:
        (folder / f"{name}.json.gz").symlink_to(PUBLISHED / f"{name}.json.gz")
    publish(collect(folder, folder / "site"), folder / "site")
    return folder / "site"


def test_from_the_index_to_any_two_runs_compared_and_on_to_a_cell(opened: Open, site: Path) -> None:
    old, new = (read_report(PUBLISHED / f"{name}.json.gz") for name in (NAMES[0], NAMES[2]))
    found = compare(old, new)
    page = opened(site / "index.html")
    entry = page.get_by_role("link", name=f"{NAMES[0]} to {NAMES[2]}")
    counts = {kind: sum(one.kind is kind for one in found.differences) for kind in Kind}
    assert entry.inner_text().split("\n") == [f"{count:,} {kind}" for kind, count in counts.items() if count]
    entry.click()
    assert page.locator("h1").inner_text() == "What changed"
    differing = page.locator(".differs").all_inner_texts()
    assert [line.split("\t") for line in differing] == [list(version) for version in found.versions]
    folded = page.locator("details.change")
    assert folded.count() == len(groups(found.differences))
    changed = page.locator("section[aria-labelledby=change] details").first
    changed.locator("summary").click()
    link = changed.locator("a.cell").first
    cell = link.inner_text()
    link.click()
    assert page.locator("#detail-title").inner_text() == cell
    page.get_by_role("link", name="All runs").click()
    assert page.locator("h1").inner_text() == "Inference support, measured"


def test_the_table_of_verdicts_adds_up_to_what_both_runs_have(opened: Open, site: Path) -> None:
    old, new = (read_report(PUBLISHED / f"{name}.json.gz") for name in NAMES[:2])
    both = {record.cell for record in old.records} & {record.cell for record in new.records}
    page = opened(site / "diff" / f"{NAMES[0]}--{NAMES[1]}.html")
    numbers = page.locator(".moved td").all_text_contents()
    assert sum(int(text.replace(",", "")) for text in numbers if text.strip()) == len(both)


@pytest.mark.parametrize("script", [True, False])
def test_comparisons_intervals_and_index_need_no_script(opened: Open, site: Path, script: bool) -> None:
    for name, words in (
        ("index.html", "3 runs on 1 device"),
        ("support.html", "since ≤ 4.48.3"),
        ("guide.html", "Recipes and claims"),
        (f"diff/{NAMES[0]}--{NAMES[2]}.html", "transformers"),
    ):
        page = opened(site / name, java_script_enabled=script)
        assert words in page.locator("main").inner_text()
        assert page.locator("script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "support.html", "guide.html", f"diff/{NAMES[0]}--{NAMES[1]}.html"])
def test_axe_finds_nothing_serious_on_a_site(opened: Open, site: Path, name: str, scheme: str) -> None:
    page = opened(site / name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((folded, place) => { folded.open = place < 2; })")
    assert serious(page) == []


@pytest.mark.parametrize("name", ["index.html", "support.html", f"diff/{NAMES[0]}--{NAMES[2]}.html"])
def test_on_a_narrow_screen_only_tables_scroll_sideways(opened: Open, site: Path, name: str) -> None:
    page = opened(site / name, viewport={"width": 360, "height": 800})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_gate_reads_well_everywhere(opened: Open, tmp_path: Path, scheme: str) -> None:
    old, new = (read_report(PUBLISHED / f"{name}.json.gz") for name in NAMES[1:])
    gate, path = judge([old], [new]), tmp_path / "gate.html"
    path.write_text(render_gate(gate), encoding="utf-8")
    page = opened(path, color_scheme=scheme, viewport={"width": 360, "height": 800}, java_script_enabled=True)
    assert page.locator("details.change").count() == len(gate.groups) + len(gate.proposals)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    page.evaluate("document.querySelectorAll('details').forEach((folded, place) => { folded.open = place < 2; })")
    assert serious(page) == []
    assert page.locator("details.change code").first.inner_text() == gate.groups[0].command


def hostile_pair(script: str) -> tuple[Report, Report]:
    filled = json.loads(everything().model_dump_json())
    filled["run"] |= {"narrowed": "x", "commit": "x", "python": "x", "checkpoints": {"x": "y"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.reports.test_html.HOSTILE", script)
        before = Report.model_validate(poisoned(filled))
        patch.setattr("tests.reports.test_html.HOSTILE", f"{script} again")
        after = Report.model_validate(poisoned(filled))
    return before, after


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_field_of_two_reports_runs_on_any_page_of_a_site(opened: Open, tmp_path: Path, script: str) -> None:
    before, after = hostile_pair(script)
    found = compare(before, after)
    runs = [Published(f"{script}-{number}", tmp_path, one) for number, one in enumerate((before, after))]
    pair = Comparison(runs[0], runs[1], found)
    pages: dict[str, str] = {
        "gate": render_gate(judge([before], [after])),
        "diff": render_diff(found, before, after),
        "diff of a site": render_diff(found, before, after, pages=(runs[0].name, runs[1].name)),
        "support": render_support(all_series([before, after])),
        "stacks": render_stacks([before, after]),
        "index": render_index(
            Collection(runs, [script]), {(runs[0].name, runs[1].name): pair}, most=40, has_guide=True
        ),
    }
    for name, text in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        page: Any = opened(path)
        page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
        page.mouse.move(300, 300)
        assert page.evaluate("window.ran") is None
        assert page.locator("img, iframe, object, embed, script").count() == 0
        assert set(page.locator("a").evaluate_all("all => all.map((a) => a.protocol)")) <= {"file:", "https:"}
        assert script.partition("'")[0] in page.locator("body").inner_text() or name == "support"
