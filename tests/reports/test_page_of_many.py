"""The page of a run of more architectures than a reader can look through: gathered, folded, drawn as one scrolls."""

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from reports.document import ArchitectureFacts, Record, Report, backend_of
from reports.html import render_html
from reports.reading import read_report
from reports.views import MANY
from tests.builders import ROOT
from tests.conftest import Open
from tests.reports.test_page_in_browser import SCRIPTS, listed, matches, serious, words, written
from tests.zoo import zoo_report

SOURCE = ROOT / "reports" / "published" / "nvidia-h100-torch2.11.0-transformers5.17.0.json.gz"
UNFOLDED = f"#{urlencode({'unfold': 'all'})}"

# By row and column what entries say, of the lines that are rows.
_ENTRIES = """() => {
  const [head, ...lines] = document.querySelector("#pivot").rows;
  const text = (cell) => cell.textContent.replaceAll("\\u200b", "").replaceAll("\\n(", " (");
  return lines.filter((line) => line.querySelector("th a")).flatMap((line) => [...line.cells].slice(1).map((cell, at) =>
    [text(line.cells[0]).replace(" *", ""), text(head.cells[at + 1]), cell.querySelector("a")?.ariaLabel ?? ""]));
}"""
_LINES = "() => [...document.querySelectorAll('#pivot tbody tr:not(.further) th')].map((head) => head.textContent)"
_SCROLLED = "document.querySelector('#pivot').parentElement"


@pytest.fixture(scope="module")
def report() -> Report:
    return zoo_report(MANY + 20, read_report(SOURCE))


@pytest.fixture(scope="module")
def page_file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(report, tmp_path_factory.mktemp("many"))


def draw_all(page: Any) -> None:
    """Scroll on until everything is drawn."""
    page.evaluate("document.querySelector('#matrix').scrollIntoView()")
    page.wait_for_function(
        f"""() => {{
          {_SCROLLED}.scrollTop = {_SCROLLED}.scrollHeight;
          return !document.querySelector("#pivot .further");
        }}"""
    )


def entries(page: Any) -> dict[tuple[str, str], str]:
    return {(row, column): said for row, column, said in page.evaluate(_ENTRIES) if said}


def facts_of(report: Report, record: Record) -> ArchitectureFacts:
    return report.run.architectures[record.axes["architecture"]]


def test_every_row_is_a_line_and_every_entry_says_what_it_covers(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file, UNFOLDED)
    draw_all(page)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for record in report.records:
        counts.setdefault((record.axes["architecture"], backend_of(record)), Counter())[words(record)] += 1
    said = {
        at: Counter({kind: int(count) for count, kind in (part.split(" ", 1) for part in _parts(text))})
        for at, text in entries(page).items()
    }
    assert said == counts
    heights = page.locator("#pivot tbody tr").evaluate_all(
        "all => all.map((line) => line.getBoundingClientRect().height)"
    )
    assert sorted(heights)[-1] <= 28  # of a group
    assert sorted(heights)[len(heights) // 2] <= 24


def _parts(text: str) -> list[str]:
    """`2 error, known, 1 supported` in its parts."""
    return text.replace(", known", ";known").replace(", ", "|").replace(";known", ", known").split("|")


def test_an_entry_has_a_mark_beside_its_colour(opened: Open, page_file: Path) -> None:
    page = opened(page_file, UNFOLDED)
    marks = page.locator("#pivot td a").evaluate_all(
        "all => all.map((a) => [a.className, a.textContent.split(' ')[0]])"
    )
    by_look = dict(marks)
    assert len(set(map(tuple, marks))) == len(by_look) > 4
    assert all(len(mark) == 1 for mark in by_look.values())


def test_only_what_is_near_is_drawn_and_the_rest_as_one_scrolls(opened: Open, page_file: Path) -> None:
    page = opened(page_file, UNFOLDED)
    page.evaluate("document.querySelector('#matrix').scrollIntoView()")
    first = len(page.evaluate(_LINES))
    assert "more lines" in page.locator("#pivot .further").inner_text()
    draw_all(page)
    everything = page.evaluate(_LINES)
    assert first < len(everything)
    assert len(everything) == len(set(everything))


def test_the_rest_can_be_drawn_without_scrolling(opened: Open, page_file: Path) -> None:
    page = opened(page_file, UNFOLDED)
    before = page.evaluate(_LINES)
    page.evaluate("document.querySelector('#further').click()")
    after = page.evaluate(_LINES)
    assert len(after) > len(before)
    assert page.evaluate("document.activeElement.closest('tr').cells[0].textContent") in after[len(before) :]


def test_paper_has_every_line_but_none_of_another_view(opened: Open, page_file: Path) -> None:
    page = opened(page_file, UNFOLDED)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#pivot .further").count() == 0
    page = opened(page_file, UNFOLDED)
    page.select_option("[name=rows]", "family")
    before = page.locator("#pivot").inner_text()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#pivot").inner_text() == before


def test_rows_of_one_result_are_one_line_that_can_be_unfolded(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file, f"#{urlencode({'family': 'image'})}")
    of_image = [record for record in report.records if facts_of(report, record).family == "image"]
    bad = {record.axes["architecture"] for record in of_image if record.fails or record.waived}
    good = {record.axes["architecture"] for record in of_image} - bad
    fold = page.get_by_role("button", name=f"{len(good)} architectures: all as documented")
    assert fold.get_attribute("aria-expanded") == "false"
    assert not good & set(page.evaluate(_LINES))
    fold.click()
    assert fold.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.activeElement.textContent").endswith("all as documented")
    assert good <= {line.removesuffix(" *") for line in page.evaluate(_LINES)}
    again = opened(page_file, page.evaluate("location.hash"))
    assert again.evaluate(_LINES) == page.evaluate(_LINES)
    fold.click()
    assert not good & set(page.evaluate(_LINES))


def test_what_fails_comes_first_in_each_group(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file, UNFOLDED)
    draw_all(page)
    failing = {record.axes["architecture"] for record in report.failures}
    known = {record.axes["architecture"] for record in report.records if record.waived}
    groups: list[list[int]] = []
    for line in page.evaluate(_LINES):
        name = line.removesuffix(" *")
        if name in report.run.architectures:
            groups[-1].append(0 if name in failing else 1 if name in known else 2)
        elif line.startswith("▾") and " architectures: all " not in line:
            groups.append([])
    assert len(groups) == len({facts.family for facts in report.run.architectures.values()})
    assert all(group == sorted(group) for group in groups)
    assert {rank for group in groups for rank in group} == {0, 1, 2}


@pytest.mark.parametrize(
    ("gather", "names"),
    [
        ("", lambda facts: facts.family),
        ("kind", lambda facts: facts.kind),
        ("traits", lambda facts: " + ".join(facts.traits) or "no traits"),
    ],
)
def test_rows_are_gathered_by_what_they_are(
    opened: Open, page_file: Path, report: Report, gather: str, names: Any
) -> None:
    page = opened(page_file)
    page.select_option("[name=gather]", gather)
    draw_all(page)
    wanted = Counter(map(names, report.run.architectures.values()))
    heads = page.locator("#pivot .group th").all_inner_texts()
    assert {head.removeprefix("▾ ") for head in heads} == {f"{name} ({count})" for name, count in wanted.items()}
    page.locator("#pivot .group button").first.click()
    assert page.evaluate(_LINES)[1] in [head.replace("▸", "▾") for head in heads]
    page.select_option("[name=gather]", "none")
    assert page.locator("#pivot .group").count() == 0


def test_three_clicks_lead_to_what_is_wrong_with_one_family_under_one_backend(
    opened: Open, page_file: Path, report: Report
) -> None:
    wanted = [
        record
        for record in report.records
        if facts_of(report, record).family == "text encoder" and backend_of(record) == "flash_attention_2"
    ]
    page = opened(page_file)
    page.locator(".quick .chip", has_text="text encoder").click()
    page.locator(".quick .chip", has_text="flash_attention_2").click()
    assert matches(page) == len(wanted)
    assert page.input_value("[name=family]") == "text encoder"
    page.locator("#pivot td a").first.click()
    shown = listed(page)
    failing = {record.cell for record in wanted if record.fails}
    assert shown
    assert set(shown) <= failing
    page.locator(".quick .chip", has_text="text encoder").click()
    assert matches(page) == sum(backend_of(record) == "flash_attention_2" for record in report.records)


@pytest.mark.parametrize("trait", ["moe", "window"])
def test_a_trait_filters_whatever_else_an_architecture_has(
    opened: Open, page_file: Path, report: Report, trait: str
) -> None:
    page = opened(page_file)
    page.select_option("[name=trait]", trait)
    assert matches(page) == sum(trait in facts_of(report, record).traits for record in report.records) > 0
    assert page.locator(".quick [data-key=trait][aria-current]").inner_text().startswith(trait)


def test_families_can_be_rows_and_then_the_entries_have_room(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    page.select_option("[name=rows]", "family")
    assert page.locator("#pivot.heat").count() == 0
    assert page.locator("#lines").is_hidden()
    assert "image and text" in page.locator("#pivot tbody th").all_inner_texts()
    assert page.locator("#pivot tbody li").count() > 6
    page.click("#swap")
    page.select_option("[name=columns]", "architecture")
    assert page.locator("#pivot.heat thead th").count() > MANY


def test_heads_stay_while_one_scrolls(opened: Open, page_file: Path) -> None:
    page = opened(page_file, UNFOLDED, viewport={"width": 700, "height": 900})
    draw_all(page)
    place = f"""() => {{
      const box = {_SCROLLED}.getBoundingClientRect();
      const [head, row] = ["thead th:last-child", "tbody tr:last-child th"]
        .map((one) => document.querySelector("#pivot " + one).getBoundingClientRect());
      return [head.top - box.top, row.left - box.left];
    }}"""
    page.evaluate(f"{_SCROLLED}.scrollLeft = 300")
    assert page.evaluate(f"{_SCROLLED}.scrollLeft > 0 && {_SCROLLED}.scrollTop > 0")
    assert page.evaluate(place) == [0, 0]


def test_choosing_an_entry_leaves_the_matrix_where_it_is(opened: Open, page_file: Path) -> None:
    page = opened(page_file, UNFOLDED)
    draw_all(page)
    page.locator("#pivot td a").last.click()
    top = page.evaluate(f"{_SCROLLED}.scrollTop")
    assert top > 0
    assert page.locator("#pivot a[aria-current]").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    assert len(listed(page)) > 0
    page.get_by_text("All rows and columns").click()
    assert page.locator("#pivot a[aria-current]").count() == 0
    assert page.evaluate(f"{_SCROLLED}.scrollTop") == top


def test_a_weak_fixture_is_marked_and_its_cells_say_why(opened: Open, page_file: Path, report: Report) -> None:
    weak = next(record for record in report.records if facts_of(report, record).weak)
    page = opened(page_file, f"#{urlencode({'cell': weak.cell, 'unfold': 'all'})}")
    draw_all(page)
    marked = [line.removesuffix(" *") for line in page.evaluate(_LINES) if line.endswith(" *")]
    assert sorted(marked) == [name for name, facts in report.run.architectures.items() if facts.weak]
    assert "a weak fixture\none layer" in page.locator("#detail").inner_text()


def test_the_words_of_a_family_are_found(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file)
    page.fill("[name=q]", "speech")
    assert matches(page) == sum(facts_of(report, record).family == "speech" for record in report.records) > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Open, page_file: Path, scheme: str) -> None:
    page = opened(page_file, UNFOLDED, color_scheme=scheme)
    draw_all(page)
    assert serious(page) == []


@pytest.mark.parametrize("width", [320, 768])
def test_on_a_narrow_screen_only_tables_scroll_sideways(opened: Open, page_file: Path, width: int) -> None:
    page = opened(page_file, viewport={"width": width, "height": 800})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_without_script_the_matrix_can_be_read(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file, java_script_enabled=False)
    rows = page.locator("noscript .heat tbody tr")
    assert rows.count() == len(report.run.architectures)
    failing = {record.axes["architecture"] for record in report.failures}
    assert [name in failing for name in rows.locator("th").all_inner_texts()] == [True] * len(failing) + [False] * (
        len(report.run.architectures) - len(failing)
    )
    assert page.locator(".quick").is_hidden()
    assert page.locator("#pivot").is_hidden()


def test_a_report_that_tells_of_no_families_is_folded_all_the_same(
    opened: Open, tmp_path: Path, report: Report
) -> None:
    untold = report.model_copy(update={"run": report.run.model_copy(update={"architectures": {}})})
    page = opened(written(untold, tmp_path))
    assert page.locator("#pivot .fold").count() > 0
    assert page.locator("#pivot .group").count() == 0
    assert page.locator("[name=gather], [name=family], [name=trait]").count() == 0


def test_a_page_of_few_architectures_is_as_it_was(opened: Open, tmp_path: Path) -> None:
    page = opened(written(read_report(SOURCE), tmp_path))
    assert page.locator("#pivot.heat, .quick, .tall").count() == 0
    assert page.locator("#lines").is_hidden()


@pytest.mark.parametrize("hostile", SCRIPTS)
def test_what_an_architecture_is_said_to_be_never_runs(
    opened: Open, tmp_path: Path, report: Report, hostile: str
) -> None:
    facts = ArchitectureFacts(kind=hostile, family=hostile, traits=[hostile, "~"], model_type=hostile, weak=hostile)
    told = dict.fromkeys([*report.run.architectures, hostile, "__proto__"], facts)
    filled = report.model_copy(update={"run": report.run.model_copy(update={"architectures": told})})
    assert hostile not in render_html(filled) or "<" not in hostile
    page = opened(written(filled, tmp_path), UNFOLDED)
    for gather in ("kind", "traits", "none", ""):
        page.select_option("[name=gather]", gather)
    page.locator("#pivot .group button").first.click()
    page.locator("#pivot .group button").first.click()
    page.locator(".quick .chip").first.click()
    assert matches(page) == len(report.records)
    page.locator("#rows a").first.click()
    assert hostile in page.locator("#detail").inner_text()
    assert page.evaluate("window.ran") is None
    assert page.locator("img, iframe, object, embed").count() == 0
