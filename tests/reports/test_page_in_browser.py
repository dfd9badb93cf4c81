"""The page of a run in a real browser: what a reader sees, does by mouse, keyboard or address, and never gets."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from matrix.cell import AXES, parse_cell
from matrix.observation import Price, Side
from matrix.reproduce import reproducing_script
from matrix.verdict import Verdict
from reports.document import Record, Report, backend_of, make_report
from reports.explained import why_wrong
from reports.html import render_html
from reports.reading import read_report
from reports.text import headline_parts, reproducing_command
from reports.views import worst_ratio
from tests.builders import ARCHITECTURES, REFUSAL, ROOT, completed, ended, make_run, record_of
from tests.conftest import Open
from tests.reports.test_html import everything, poisoned

SOURCE = ROOT / "reports" / "published" / "nvidia-h100-torch2.11.0-transformers5.17.0-guide.json.gz"
AXIS_NAMES = ("architecture", "backend", *AXES)


@pytest.fixture(scope="module")
def report() -> Report:
    return read_report(SOURCE)


@pytest.fixture(scope="module")
def page_file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(report, tmp_path_factory.mktemp("page"))


def written(report: Report, folder: Path) -> Path:
    path = folder / "index.html"
    path.write_text(render_html(report), encoding="utf-8")
    return path


def value(record: Record, axis: str) -> str:
    return backend_of(record) if axis == "backend" else record.axes[axis]


def words(record: Record) -> str:
    return record.verdict.value + (", known" if record.waived else "")


def counted(report: Report, rows: tuple[str, ...], columns: tuple[str, ...]) -> dict[tuple[str, str], Counter[str]]:
    """What the matrix must show, counted another way."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for record in report.records:
        key = (" · ".join(value(record, axis) for axis in rows), " · ".join(value(record, axis) for axis in columns))
        found.setdefault(key, Counter())[words(record)] += 1
    return found


def shown(page: Any) -> dict[tuple[str, str], Counter[str]]:
    """What the matrix shows, by row and column."""
    read = page.evaluate(
        """() => {
          const breaks = [["\\u200b", ""], ["\\n(", " ("], ["\\n", " · "]];
          const text = (cell) => breaks.reduce((text, [from, to]) => text.replaceAll(from, to), cell.textContent);
          const kinds = (cell) => [...cell.querySelectorAll("li")].map((li) => li.textContent);
          const [head, ...rows] = document.querySelector("#pivot").rows;
          return rows.flatMap((row) => [...row.cells].slice(1).map((cell, column) =>
            [text(row.cells[0]), text(head.cells[column + 1]), kinds(cell)]));
        }"""
    )
    found = {}
    for row, column, parts in read:
        counts = [re.fullmatch(r"\W*([\d,]+) (.+)", part) for part in parts]
        if counts:
            found[row, column] = Counter({m[2]: int(m[1].replace(",", "")) for m in counts if m})
    return found


def listed(page: Any) -> list[str]:
    return page.locator("#rows tr").evaluate_all("rows => rows.map((row) => row.dataset.cell)")


def matches(page: Any) -> int:
    return int(re.match(r"[\d,]+", page.locator("#matches").inner_text())[0].replace(",", ""))  # type: ignore[index]


def test_the_first_paint_has_what_a_person_needs_first(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file)
    # A function: an expression is asked again by eval, which the page forbids.
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length === 1")
    headline = page.locator(".headline").inner_text()
    assert all(part in headline for part in headline_parts(report))
    for text in ("NVIDIA H100", report.run.stack.driver, "5.17.0", report.run.commit, "2026-11-22"):
        assert page.get_by_text(text).first.is_visible()
    order = page.locator("h2:visible").evaluate_all("heads => heads.map((head) => head.id)")
    assert order.index("failures") < order.index("matrix") < order.index("cells")
    assert shown(page) == counted(report, ("architecture",), ("backend",))


def test_a_cell_with_wrong_numbers_shows_where_they_begin(opened: Open, tmp_path: Path) -> None:
    whole = read_report(ROOT / "reports" / "published" / "nvidia-h100-torch2.11.0-transformers5.17.0.json.gz")
    record = next(r for r in whole.records if r.observation.origin is not None and r.observation.origin.rows)
    origin = record.observation.origin
    assert origin is not None
    page = opened(written(whole.model_copy(update={"records": [record], "rows": []}), tmp_path), f"#cell={record.cell}")
    panel = page.locator("#detail").inner_text()
    for part in (f"{origin.module} ({origin.kind})", origin.pattern, origin.rows[0].strip()):
        assert part in panel
    assert page.locator("#detail .modules .begins").count() == 1
    assert page.locator("#detail .modules .eager").count() == len(origin.strip)


def test_a_cell_with_wrong_numbers_shows_dials_and_place_as_one_diagnosis(opened: Open, tmp_path: Path) -> None:
    whole = read_report(ROOT / "reports" / "published" / "nvidia-h100-torch2.11.0-transformers5.17.0.json.gz")
    (turned, lost) = (
        next(r for r in whole.records if why_wrong(r).startswith(words)) for words in ("slopes of ALiBi", "no dial")
    )
    page_file = written(whole.model_copy(update={"records": [turned, lost], "rows": []}), tmp_path)
    for record in (turned, lost):
        page = opened(page_file, f"#cell={record.cell}")
        diagnosis = page.locator("#detail h3:text-is('Diagnosis') + ul li").all_inner_texts()
        assert diagnosis == why_wrong(record).split("; ")
        assert len(diagnosis) == 2


def test_a_cell_says_beside_its_verdict_what_it_costs(opened: Open, tmp_path: Path) -> None:
    cell = "llama-bfloat16-sdpa-left-static-generate"
    price = Price("cache", "llama-bfloat16-sdpa-left-generate", "token", Side((0.003,) * 2), Side((0.002,) * 2))
    record = record_of(cell, observation=completed(parse_cell(cell), price=price))
    page = opened(written(make_report(make_run(cell), [record], end=ended()), tmp_path), f"#cell={cell}")
    panel = page.locator("#detail").inner_text()
    said = panel[panel.index("What it costs and gains") :]
    assert "Beside llama-bfloat16-sdpa-left-generate, in turns" in said
    assert "time of each new token: 1.5 × (1.5 to 1.5), 3 ms against 2 ms" in said
    row = page.locator("section[aria-labelledby=prices] tbody tr")
    assert row.count() == 1
    assert row.inner_text().split("\t") == ["static", "1", "1.5 × (1.5 to 1.5) more of 1"]


def test_failures_stand_before_all_else(opened: Open, tmp_path: Path) -> None:
    page = opened(written(everything(), tmp_path))
    first = page.locator(".failure").first
    assert first.bounding_box()["y"] < page.locator("#matrix").bounding_box()["y"]
    assert "required but error" in first.inner_text()


@pytest.mark.parametrize("rows", AXIS_NAMES)
def test_any_axis_can_be_the_rows_and_any_other_the_columns(
    opened: Open, page_file: Path, report: Report, rows: str
) -> None:
    page = opened(page_file)
    page.select_option("[name=rows]", rows)
    for columns in AXIS_NAMES:
        if columns != rows:
            page.select_option("[name=columns]", columns)
            assert shown(page) == counted(report, (rows,), (columns,))


def test_two_axes_can_share_a_side_and_sides_can_be_swapped(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file)
    page.select_option("[name=rows2]", "dtype")
    page.select_option("[name=columns2]", "workload")
    sides = ("architecture", "dtype"), ("backend", "workload")
    assert shown(page) == counted(report, *sides)
    page.click("#swap")
    assert shown(page) == counted(report, *reversed(sides))


def test_an_axis_that_is_taken_changes_places(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    page.select_option("[name=rows]", "backend")
    assert [page.input_value(f"[name={side}]") for side in ("rows", "columns")] == ["backend", "architecture"]


@pytest.mark.parametrize("axis", AXIS_NAMES)
def test_each_axis_filters(opened: Open, page_file: Path, report: Report, axis: str) -> None:
    counts = Counter(value(record, axis) for record in report.records)
    page = opened(page_file)
    if len(counts) == 1:
        assert page.locator(f"select[name={axis}]").count() == 0
        return
    for chosen, count in counts.items():
        page.select_option(f"select[name={axis}]", chosen)
        assert matches(page) == count
        assert sum(sum(kinds.values()) for kinds in shown(page).values()) == count
    page.click("button[type=reset]")
    assert matches(page) == len(report.records)


def test_verdicts_and_words_filter_and_add_up(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file)
    for record in {record.verdict: record for record in report.records}.values():
        page.select_option("[name=verdict]", record.verdict.value)
        assert matches(page) == report.counts[record.verdict.value]
    page.select_option("[name=verdict]", "known")
    assert matches(page) == report.waived
    page.select_option("[name=verdict]", "refused")
    page.fill("[name=q]", "LLAMA int8")
    wanted = [
        record.cell
        for record in report.records
        if record.verdict == "refused"
        and all(
            word in f"{record.cell} {record.reason} {' '.join(record.kernels)}".lower() for word in ("llama", "int8")
        )
    ]
    assert listed(page) == wanted
    page.fill("[name=q]", "nothing has this")
    assert (matches(page), shown(page), listed(page)) == (0, {}, [])


def test_an_entry_lists_its_cells_and_the_list_can_be_ordered_and_grows(
    opened: Open, page_file: Path, report: Report
) -> None:
    page = opened(page_file)
    page.locator("#pivot tbody tr").nth(2).locator("td a").first.click()
    row = page.locator("#pivot tbody tr").nth(2).locator("th").inner_text()
    column = page.locator("#pivot [aria-current]").evaluate(
        "link => link.closest('table').rows[0].cells[link.closest('td').cellIndex].textContent"
    )
    assert listed(page) == [r.cell for r in report.records if (r.axes["architecture"], backend_of(r)) == (row, column)]
    page.get_by_text("All rows and columns").click()
    assert len(listed(page)) < len(report.records)
    page.click("#worst button")
    ratios = {record.cell: worst_ratio(record) or 0.0 for record in report.records}
    assert ratios[listed(page)[0]] == max(ratios.values())
    while page.locator("#more").is_visible():
        page.click("#more")
    assert sorted(listed(page)) == sorted(record.cell for record in report.records)


def test_the_address_holds_the_view(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    page.select_option("[name=rows]", "dtype")
    page.select_option("[name=columns2]", "padding")
    page.select_option("select[name=quantisation]", "none")
    page.fill("[name=q]", "llama")
    page.locator("#pivot tbody a").first.click()
    page.locator("#rows a").first.click()
    link = page.evaluate("location.hash")
    again = opened(page_file, link)
    for one in ("#pivot", "#rows", "#matches", "#selection", "#detail"):
        assert again.locator(one).inner_text() == page.locator(one).inner_text()
    assert again.locator("[name=q]").input_value() == "llama"
    assert again.locator("#detail-title").is_visible()


def test_the_way_back_leads_through_the_views(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file)
    page.select_option("[name=rows]", "dtype")
    page.locator("#rows a").first.click()
    assert page.locator("#detail").is_visible()
    page.go_back()
    assert page.locator("#detail").is_hidden()
    page.go_back()
    assert shown(page) == counted(report, ("architecture",), ("backend",))


@pytest.mark.parametrize(
    "given",
    [
        {"cell": "llama-float8-eager-prefill"},
        {"rows": "mood", "columns": "", "rows2": "rows"},
        {"verdict": "<b>", "order": "%", "row": "nowhere"},
        {"rows": "toString", "columns": "__proto__", "rows2": "constructor"},
        {"rows": "dtype", "rows2": "dtype", "columns": "dtype"},
        {"verdict": "__proto__"},
        {"verdict": "toString"},
    ],
    ids=str,
)
def test_an_address_that_makes_no_sense_still_leads_to_the_page(
    opened: Open, page_file: Path, given: dict[str, str]
) -> None:
    page = opened(page_file, f"#{urlencode(given)}")
    assert [page.input_value(f"[name={side}]") for side in ("rows", "columns")] == ["architecture", "backend"]
    assert page.locator("#pivot thead th").count() > 1
    assert page.input_value("[name=verdict]") == ""
    assert page.locator("#detail").is_hidden()
    assert ("not in this report: llama-float8" in page.locator("#matches").inner_text()) is ("cell" in given)


def test_a_cell_tells_all_that_is_known_of_it(opened: Open, page_file: Path, report: Report) -> None:
    record = next(r for r in report.records if r.bounds and r.kernels and r.observation.peak_memory_mib)
    page = opened(page_file, f"#{urlencode({'cell': record.cell})}")
    text = page.locator("#detail").inner_text()
    wanted = [record.cell, record.verdict.value, record.reason, record.expectation.source, *record.kernels]
    wanted += [bound.name for bound in record.bounds]
    wanted += [*record.observation.evidence.linear_classes, *record.observation.evidence.placement]
    wanted += [f"{phase} " for phase in record.observation.seconds] + ["peak memory", "MiB"]
    assert [part for part in wanted if part not in text] == []
    assert page.locator("#detail .gauge svg").count() == len(record.bounds)

    refused = next(r for r in report.records if r.observation.failure and r.waived is None)
    page = opened(page_file, f"#{urlencode({'cell': refused.cell})}")
    text = page.locator("#detail").inner_text()
    failure = refused.observation.failure
    assert failure is not None
    for part in (failure.phase.value, failure.type, failure.message, refused.expectation.source):
        assert part in text

    known = next(r for r in report.records if r.waived)
    assert known.waived is not None
    page = opened(page_file, f"#{urlencode({'cell': known.cell})}")
    text = page.locator("#detail").inner_text()
    assert all(part in text for part in (known.waived.reason, known.waived.url, known.waived.reproducer))


def test_what_only_the_panel_shows_is_read_when_the_first_cell_is_opened(
    opened: Open, page_file: Path, report: Report
) -> None:
    page = opened(page_file)
    page.fill("[name=q]", "sdpa")
    page.select_option("[name=rows]", "dtype")
    assert page.evaluate("details === null")
    page.locator("#rows a").first.click()
    assert page.evaluate("details !== null")
    for cell, record in zip(page.evaluate("data.rows.map((_, index) => cellAt(index))"), report.records, strict=True):
        assert cell["cell"] == record.cell
        assert cell["expectation"]["source"] == record.expectation.source
        assert [bound["name"] for bound in cell.get("bounds", [])] == [bound.name for bound in record.bounds]
        assert cell.get("failure", {}).get("frames", []) == list(getattr(record.observation.failure, "frames", ()))


def test_what_comes_after_the_matrix_is_not_laid_out_before_it_is_drawn(
    opened: Open, page_file: Path, tmp_path: Path
) -> None:
    before, rest = page_file.read_text(encoding="utf-8").split("<script>")
    unfinished = tmp_path / "unfinished.html"
    unfinished.write_text(before + rest.split("</script>")[1], encoding="utf-8")
    after = "[...document.querySelectorAll('section:has(#list) ~ section > h2')]"
    laid_out = f"{after}.map((head) => head.checkVisibility({{ contentVisibilityAuto: true }}))"
    page = opened(unfinished)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert set(page.evaluate(laid_out)) == {False}


def test_what_was_seen_of_a_flaky_cell_at_first_is_folded_away(opened: Open, tmp_path: Path) -> None:
    cell, honest = "llama-float32-sdpa-prefill", completed(parse_cell("llama-float32-sdpa-prefill"))
    wrong = replace(honest.comparisons[0], candidate_max=432.0)
    first = replace(honest, failure=REFUSAL, comparisons=(wrong,))
    left = replace(honest, evidence=replace(honest.evidence, left_on_gpu_mib=321.0))
    flaky = record_of(cell, Verdict.FLAKY, observation=left, first_verdict=Verdict.INACCURATE, first_observation=first)
    page = opened(written(make_report(make_run(cell), [flaky], end=ended()), tmp_path), f"#{urlencode({'cell': cell})}")
    detail = page.locator("#detail")
    assert all(part in detail.inner_text() for part in ("At first it was inaccurate.", "321 MiB"))
    assert "432" not in detail.inner_text()
    page.locator("#detail summary").click()
    assert all(part in detail.inner_text() for part in ("432", REFUSAL.message, "It completed."))


def test_a_cell_leads_to_those_that_differ_in_one_axis(opened: Open, page_file: Path, report: Report) -> None:
    def apart(one: Record, other: Record) -> list[str]:
        return [axis for axis in ("architecture", *AXES) if one.axes[axis] != other.axes[axis]]

    record = max(report.records, key=lambda one: sum(len(apart(one, other)) == 1 for other in report.records))
    wanted = {other.cell: apart(record, other)[0] for other in report.records if len(apart(record, other)) == 1}
    assert len(wanted) > 3
    page = opened(page_file, f"#{urlencode({'cell': record.cell})}")
    links = page.locator("#detail .related a")
    found = links.evaluate_all("all => all.map((a) => new URLSearchParams(a.hash.slice(1)).get('cell'))")
    assert sorted(found) == sorted(wanted)
    values = links.all_inner_texts()
    by_cell = {one.cell: one for one in report.records}
    assert values == [by_cell[cell].axes[wanted[cell]] for cell in found]
    links.first.click()
    assert page.locator("#detail-title").inner_text() == found[0]


@pytest.mark.parametrize("granted", [True, False])
def test_the_script_of_a_cell_can_be_copied(opened: Open, page_file: Path, report: Report, granted: bool) -> None:
    record = report.records[7]
    cell = parse_cell(record.cell)
    page = opened(
        page_file,
        f"#{urlencode({'cell': record.cell})}",
        permissions=["clipboard-read", "clipboard-write"] if granted else [],
    )
    script = reproducing_script(cell, ARCHITECTURES[cell.architecture], seed=record.seed)
    if not granted:  # as in a browser that lets no page write to the clipboard
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
    for button, wanted in (("Copy the command", reproducing_command(record.cell)), ("Copy the script", script)):
        page.get_by_role("button", name=button).click()
        if granted:
            page.get_by_role("button", name="Copied").first.wait_for()
            assert page.evaluate("navigator.clipboard.readText()") == wanted
        else:
            page.get_by_role("button", name="Selected: copy with the keyboard").first.wait_for()
            assert page.evaluate("getSelection().toString()").strip() == wanted.strip()


def test_every_cell_has_the_script_that_the_command_writes(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file)
    scripts = page.evaluate("data.rows.map((_, index) => scriptOf(cellAt(index)))")
    for record, script in zip(report.records, scripts, strict=True):
        cell = parse_cell(record.cell)
        wanted = reproducing_script(cell, ARCHITECTURES[cell.architecture], seed=record.seed, found=why_wrong(record))
        assert script == wanted


def test_without_script_all_but_the_list_of_controls_can_be_read(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file, java_script_enabled=False)
    text = page.locator("main").inner_text()
    assert all(part in text for part in headline_parts(report))
    assert "Other views and the details of a cell need JavaScript" in text
    assert page.locator("#filters").is_hidden()
    assert page.locator("#more").is_hidden()
    assert page.locator("#pivot tbody tr").count() == len({record.axes["architecture"] for record in report.records})
    assert page.locator("noscript tbody tr").count() == len(report.records)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_is_as_dark_as_the_reader_wants_it(opened: Open, page_file: Path, scheme: str, dark: bool) -> None:
    page = opened(page_file, color_scheme=scheme)
    for property_name, is_dark in (("backgroundColor", dark), ("color", not dark)):
        colour = page.evaluate(f"getComputedStyle(document.body).{property_name}")
        assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 384) is is_dark


def test_the_keyboard_is_enough(opened: Open, page_file: Path) -> None:
    page = opened(page_file)

    def focused(what: str) -> Any:
        return page.evaluate(f"document.activeElement.{what}")

    page.keyboard.press("Tab")
    assert focused("textContent") == "Skip to the matrix"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused("name") == "rows"
    page.keyboard.type("dt")  # dtype
    page.keyboard.press("Tab")
    assert page.locator("#pivot tbody th").all_inner_texts()[0] == "float32"
    while focused("textContent") != "Skip to the cells":
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # the table, which can be scrolled
    while focused("closest('#pivot td') === null"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert focused("getAttribute('aria-current')") == "true"
    while focused("closest('#rows') === null"):
        page.keyboard.press("Tab")
    link = focused("textContent")
    page.keyboard.press("Enter")
    assert (focused("id"), focused("textContent")) == ("detail-title", link)
    page.keyboard.press("Tab")
    assert focused("closest('#detail') !== null")
    page.keyboard.press("Escape")
    assert page.locator("#detail").is_hidden()
    assert focused("textContent") == link


def test_escape_clears_the_words_before_it_closes_the_panel(opened: Open, page_file: Path, report: Report) -> None:
    page = opened(page_file, f"#{urlencode({'cell': report.records[0].cell})}")
    page.fill("[name=q]", "cudnn")
    assert matches(page) < len(report.records)
    page.focus("[name=q]")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelector('#matches').textContent.startsWith(total)")
    assert page.locator("#detail").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#detail").is_hidden()
    assert page.evaluate("location.hash") == ""


def test_a_link_to_a_section_leaves_the_view_in_the_address(opened: Open, page_file: Path) -> None:
    page = opened(page_file, "#rows=dtype&verdict=refused")
    page.get_by_role("link", name="Cells", exact=True).click()
    assert page.evaluate("location.hash") == "#rows=dtype&verdict=refused"
    assert page.evaluate("document.activeElement.id") == "cells"
    assert page.locator("#cells").evaluate("head => head.getBoundingClientRect().top < innerHeight")


def test_what_has_the_focus_is_not_behind_the_controls(opened: Open, page_file: Path) -> None:
    page = opened(page_file, viewport={"width": 1400, "height": 900})
    page.locator("#pivot tbody tr:last-child a").last.focus()
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.closest('#pivot') === null"):
            break
        hidden = page.evaluate(
            """() => {
              const bar = document.querySelector("#filters").getBoundingClientRect();
              return document.activeElement.getBoundingClientRect().bottom <= bar.bottom && bar.top <= 0;
            }"""
        )
        assert not hidden


def test_what_has_the_focus_can_be_seen(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    for _ in range(40):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
              const style = getComputedStyle(document.activeElement);
              const box = document.activeElement.getBoundingClientRect();
              const outlined = parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== "none";
              return outlined && box.left >= 0 && box.width > 0;
            }"""
        )
        assert seen, page.evaluate("document.activeElement.outerHTML")


def test_printed_there_is_no_control_and_nothing_is_folded(opened: Open, tmp_path: Path) -> None:
    page = opened(written(everything(), tmp_path))
    page.emulate_media(media="print")
    assert page.locator("#filters").is_hidden()
    assert page.locator("nav").first.is_hidden()
    assert page.get_by_text(re.compile(r"python -m matrix reproduce")).first.is_visible()
    assert page.locator("#worst").inner_text().startswith("worst ratio")


def test_a_list_that_is_cut_says_so_on_paper(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    assert page.locator(".printed").is_hidden()
    page.emulate_media(media="print")
    assert page.locator("#selection").inner_text().endswith("of which the first 20 are printed")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_on_a_narrow_screen_only_tables_scroll_sideways(
    opened: Open, page_file: Path, report: Report, width: int
) -> None:
    page = opened(page_file, viewport={"width": width, "height": 800})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    page.goto(f"{page_file.as_uri()}#{urlencode({'cell': report.records[0].cell})}")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.locator("#detail").evaluate("panel => panel.scrollWidth <= panel.clientWidth")


def serious(page: Any) -> list[str]:
    """The violations that axe-core calls serious or critical, each with its first place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # What is out of sight is not laid out, and axe would pass it over.
    page.evaluate(
        "() => { document.styleSheets[0]?.insertRule('main > section { content-visibility: visible !important }', 0); }"
    )
    found = axe.run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:200]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("whole", [True, False], ids=["every part", "a real run"])
def test_axe_finds_nothing_serious(
    opened: Open, tmp_path: Path, page_file: Path, report: Report, scheme: str, whole: bool
) -> None:
    path = written(everything(), tmp_path) if whole else page_file
    cell = next(r.cell for r in (everything() if whole else report).records if r.observation.failure)
    page = opened(path, f"#{urlencode({'cell': cell})}", color_scheme=scheme)
    assert page.locator("#detail").is_visible()
    assert serious(page) == []


def test_axe_can_find_something(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<!doctype html><title>x</title><input><p style='color:#eee;background:#fff'>pale</p>")
    assert {line.partition(":")[0] for line in serious(opened(path))} >= {"label", "color-contrast", "html-has-lang"}


def test_a_page_that_runs_what_it_should_not_is_noticed(opened: Open, complaints: list[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    image = "<img src='http://127.0.0.1:9/x' onerror='window.ran = 2'>"
    path.write_text(f"<!doctype html><script>console.log('said'); alert('hello'); throw 1</script>{image}")
    page = opened(path)
    page.wait_for_function("window.ran")
    for kind in ("console: said", "error: ", "dialog: hello", "http://127.0.0.1:9/x"):
        assert any(line.startswith(kind) for line in complaints)
    complaints.clear()


# What would set `ran` if any of it were taken for more than text.
SCRIPTS = (
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "'\"><svg onload='window.ran = 3'>",
    "javascript:window.ran=4",
    'https://example.org/"onmouseover="window.ran=5',
    "{{ 7 * 7 }}${window.ran = 6}",
)


@pytest.fixture(scope="module", params=SCRIPTS)
def hostile(request: pytest.FixtureRequest) -> Iterator[Report]:
    filled = json.loads(everything().model_dump_json())
    filled["run"] |= {"narrowed": "x", "commit": "x", "python": "x", "required": ["x"], "command": ["x"]}
    filled["run"]["checkpoints"] = {"x": "y"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.reports.test_html.HOSTILE", request.param)
        yield Report.model_validate(poisoned(filled))


def test_no_field_of_a_report_runs(opened: Open, tmp_path: Path, hostile: Report) -> None:
    page = opened(written(hostile, tmp_path))
    for axis in AXIS_NAMES:
        page.select_option("[name=rows]", axis)
    for link in page.locator("#rows a").all():
        link.click(force=True)
        page.keyboard.press("Escape")
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    page.mouse.move(400, 400)
    links = page.locator("a").evaluate_all("all => all.map((a) => a.protocol)")
    assert set(links) <= {"file:", "https:"}
    assert page.evaluate("window.ran") is None
    assert page.locator("img, iframe, object, embed").count() == 0
