"""The pages of a site and of a comparison in a real browser."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from matrix.rows import Family
from matrix.verdict import Verdict
from reports.diff import compare
from reports.differences import Kind, groups
from reports.document import ArchitectureFacts, Report, RowRecord, Waived, make_report
from reports.front import facts_of, front_of
from reports.gate import judge
from reports.html import render_advice, render_diff, render_gate, render_index, render_stacks, render_support
from reports.reading import read_report
from reports.runs import Collection, Comparison, Published, PublishedAdvice, collect
from reports.site import publish
from reports.support import all_series
from tests.builders import ROOT, ended, make_run, make_stack, record_of
from tests.conftest import Open
from tests.reports.test_advice import advised
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
    # Not inner_text, which is empty until the section was painted.
    told = entry.locator(".line").all_text_contents()
    assert told == [f"{count:,} {kind}" for kind, count in counts.items() if count]
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
        assert page.locator("script").count() == (3 if name == "index.html" else 0)


def ask(page: Any, model_type: str) -> Any:
    page.get_by_label("Does my model work?").fill(model_type)
    return page.locator("#answer")


def hand_over(page: Any, config: str | bytes) -> Any:
    content = config.encode() if isinstance(config, str) else config
    page.locator("#file").set_input_files({"name": "config.json", "mimeType": "", "buffer": content})
    answer = page.locator("#answer")
    answer.locator(":is(h2, .problem)").first.wait_for()
    return answer


def test_a_type_is_answered_with_what_works_what_is_wrong_what_is_refused_and_what_to_use_instead(
    opened: Open, site: Path
) -> None:
    page = opened(site / "index.html")
    answer = ask(page, "falcon")
    page.get_by_label("with transformers").select_option("4.48.3")
    assert answer.locator(".kicker").inner_text() == "CPU, torch 2.13.0+cpu, transformers 4.48.3"
    assert answer.locator("h2").inner_text().startswith("falcon")
    assert [card.get_attribute("aria-label") for card in answer.locator(".card").all()] == ["Works", "Wrong", "Refused"]
    assert "sdpa" in answer.get_by_label("Works", exact=True).inner_text()
    refused = answer.get_by_label("Refused", exact=True)
    assert "Transformers now supports natively BetterTransformer optimizations" in refused.inner_text()
    assert "instead: sdpa in float32" in refused.inner_text()
    assert 'torch_dtype=torch.bfloat16, attn_implementation="sdpa"' in answer.locator(".write").inner_text()
    refused.locator("a.cell").first.click()
    assert page.locator("#detail-title").inner_text().startswith("falcon-")


def test_the_address_holds_the_question_and_the_keyboard_is_enough(opened: Open, site: Path) -> None:
    page = opened(site / "index.html")
    page.get_by_label("Does my model work?").focus()
    page.keyboard.type("Llama")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "answer-title"
    again = opened(site / "index.html", page.evaluate("location.hash"))
    assert again.locator("#answer h2").inner_text() == page.locator("#answer h2").inner_text()
    entry = page.locator(".entries button").first
    entry.focus()
    page.keyboard.press("Enter")
    assert entry.get_attribute("aria-expanded") == "true"
    assert "since ≤ 4.48.3" in page.locator(".entries .note-body").inner_text()
    page.keyboard.press("Enter")
    assert page.locator(".entries .note-body").count() == 0


def test_where_releases_were_left_out_no_answer_says_in_which_of_them_it_changed(opened: Open, site: Path) -> None:
    page = opened(site / "index.html")
    answer = ask(page, "bert")
    for entry in answer.locator(".entries button").all():
        entry.click()
        words = answer.inner_text()
        assert re.search(r"since ≤ \d", words)
        assert not re.search(r"since \d", words)


def test_an_entry_of_the_table_opens_its_note_and_leads_to_the_whole_answer(opened: Open, site: Path) -> None:
    page = opened(site / "index.html")
    entry = page.get_by_role("row", name="falcon", exact=False).first.locator("td.s a").first
    entry.focus()
    page.keyboard.press("Enter")
    note = page.locator(".grid[data-series] .note-body")
    assert "supported" in note.inner_text()
    note.get_by_role("link", name="All of falcon").click()
    assert page.locator("#answer h2").inner_text().startswith("falcon")


def test_a_config_is_read_for_its_type_and_traits(opened: Open, site: Path) -> None:
    config = {"model_type": "falcon", "alibi": True, "torch_dtype": "float16", "transformers_version": "4.40.1"}
    page = opened(site / "index.html")
    answer = hand_over(page, json.dumps(config))
    assert page.get_by_label("Does my model work?").input_value() == "falcon"
    assert "saved by transformers 4.40.1, in float16, with alibi" in answer.locator(".aside").first.inner_text()
    assert "torch.float16" in answer.locator(".write").inner_text()


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"load_in_4bit": True, "bnb_4bit_use_double_quant": True}, "fp4_double_quant"),
        ({}, "an unknown method"),
    ],
)
def test_of_a_format_that_was_never_measured_nothing_is_said_to_be_right(
    opened: Open, site: Path, table: dict[str, Any], named: str
) -> None:
    page = opened(site / "index.html")
    answer = hand_over(page, json.dumps({"model_type": "opt", "quantization_config": table}))
    assert f"quantised with {named}: what follows is of unquantised weights" in answer.inner_text()
    assert answer.locator(".write").count() == 0
    ask(page, "llama")
    assert answer.locator(".write").count() == 1
    assert "what follows is of unquantised weights" not in answer.inner_text()


def test_a_config_of_a_format_that_was_measured_is_answered_of_that_format(opened: Open, site: Path) -> None:
    page = opened(site / "index.html")
    table = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    answer = hand_over(page, json.dumps({"model_type": "opt", "quantization_config": table}))
    assert answer.locator(".summary").inner_text().startswith("Quantised with int8: ")
    assert "what follows is of unquantised weights" not in answer.inner_text()
    asked = {"model_type": "opt", "quantization_config": None}
    assert hand_over(page, json.dumps(asked)).locator(".summary").inner_text().startswith("Works with ")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_config_can_be_dropped_and_pasted(opened: Open, site: Path, way: str) -> None:
    page = opened(site / "index.html")
    page.evaluate(
        """([way, text]) => {
          const data = new DataTransfer();
          if (way === "drop") data.items.add(new File([text], "config.json"));
          else data.setData("text/plain", text);
          const event = way === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
          document.body.dispatchEvent(event);
        }""",
        [way, '{"model_type": "bert"}'],
    )
    page.locator("#answer h2").wait_for()
    assert page.locator("#answer h2").inner_text().startswith("bert")


def test_of_a_type_that_was_never_measured_nothing_is_claimed_and_the_nearest_are_named(
    opened: Open, site: Path
) -> None:
    page = opened(site / "index.html")
    answer = ask(page, "nothing_like_it")
    assert "nothing is claimed of it" in answer.inner_text()
    assert answer.locator(".near, .card").count() == 0
    config = {"model_type": "newtype", "is_encoder_decoder": True, "architectures": ["NewForConditionalGeneration"]}
    near = hand_over(page, json.dumps(config)).locator(".near li")
    assert near.first.inner_text().startswith("t5")
    assert "encoder-decoder" in near.first.inner_text()
    near.first.locator("a").click()
    assert page.locator("#answer h2").inner_text().startswith("t5")


def test_what_is_no_config_of_a_model_is_refused_in_words(opened: Open, site: Path) -> None:
    page = opened(site / "index.html")
    for config in (
        b"",
        b"\xff\xfe\x00",
        "[1, 2]",
        "null",
        '"llama"',
        '{"model_type": 3}',
        '{"model_type": ["llama"]}',
        '{"model_type": "<img src=x onerror=window.ran=1>"}',
        '{"model_type": "javascript:window.ran=1"}',
        '{"__proto__": {"model_type": "llama"}}',
        '{"model_type": "' + "a" * 65 + '"}',
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        '{"model_type": "llama", "x": "' + "x" * 2**20 + '"}',
    ):
        assert hand_over(page, config).locator(".problem").count() == 1, config[:40]
    assert page.evaluate("window.ran") is None


def test_no_field_of_a_config_becomes_markup_or_code(opened: Open, site: Path) -> None:
    script = "<img src=x onerror='window.ran=1'>"
    names = ["torch_dtype", "transformers_version", "architectures", "quantization_config", "layer_types", script]
    flat = dict.fromkeys(names, script)
    nested = {"architectures": [script], "quantization_config": {"quant_method": script}, "layer_types": [script, 3]}
    deep = {"text_config": {"text_config": {"num_experts": 8, "__proto__": {"alibi": True}, "toString": script}}}
    page = opened(site / "index.html")
    for model_type in ("llama", "constructor", "hasOwnProperty"):
        for given in (flat, nested, deep):
            answer = hand_over(page, json.dumps({**given, "model_type": model_type}))
            assert answer.locator("h2").inner_text().startswith(model_type)
            assert "onerror" not in answer.inner_text()
    assert page.evaluate("[window.ran, {}.alibi, document.querySelectorAll('img').length]") == [None, None, 0]


def test_an_address_from_anywhere_asks_and_runs_nothing(opened: Open, site: Path) -> None:
    script = "%3Cimg%20src%3Dx%20onerror%3D'window.ran%3D1'%3E"
    for fragment in (
        f"#type={script}&on={script}&version={script}&as={script}",
        "#type=llama&on=constructor&version=x",
    ):
        page = opened(site / "index.html", fragment)
        assert page.locator("#answer h2").count() == 1
        assert page.evaluate("[window.ran, document.querySelectorAll('img').length]") == [None, 0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "support.html", "guide.html", f"diff/{NAMES[0]}--{NAMES[1]}.html"])
def test_axe_finds_nothing_serious_on_a_site(opened: Open, site: Path, name: str, scheme: str) -> None:
    page = opened(site / name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((folded, place) => { folded.open = place < 2; })")
    if name == "index.html":
        page.get_by_label("Does my model work?").fill("falcon")
        page.locator(".entries button").first.click()
        page.locator(".grid[data-series] td.s a").first.click()
    assert serious(page) == []


@pytest.mark.parametrize("name", ["index.html", "support.html", f"diff/{NAMES[0]}--{NAMES[2]}.html"])
def test_on_a_narrow_screen_only_tables_scroll_sideways(opened: Open, site: Path, name: str) -> None:
    page = opened(site / name, "#type=t5" if name == "index.html" else "", viewport={"width": 360, "height": 800})
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
    given = advised()
    hostile = given.model_copy(
        update={
            "model": given.model.model_copy(update={"name": script, "model_type": script}),
            "hardware": script,
            "notes": [script],
            "entries": [one.model_copy(update={"name": script, "why_not": script}) for one in given.entries],
        }
    )
    pages: dict[str, str] = {
        "gate": render_gate(judge([before], [after])),
        "diff": render_diff(found, before, after),
        "diff of a site": render_diff(found, before, after, pages=(runs[0].name, runs[1].name)),
        "advice": render_advice(hostile, home="../index.html"),
        "support": render_support(all_series([before, after])),
        "stacks": render_stacks([before, after]),
        "index": render_index(
            Collection(runs, [script], advices=[PublishedAdvice(f"{script}-0", tmp_path, hostile)]),
            {(runs[0].name, runs[1].name): pair},
            [pair],
            front_of(all_series([before, after]), runs),
            facts_of([before, after]),
            most=40,
            has_guide=True,
        ),
    }
    for name, text in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        page: Any = opened(path)
        page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
        page.mouse.move(300, 300)
        assert page.evaluate("window.ran") is None
        assert page.locator("img, iframe, object, embed").count() == 0
        assert page.locator("script").count() == (3 if name == "index" else 0)
        assert set(page.locator("a").evaluate_all("all => all.map((a) => a.protocol)")) <= {"file:", "https:"}
        assert script.partition("'")[0] in page.locator("body").inner_text() or name == "support"


def hostile_runs(script: str) -> list[Published]:
    """Runs whose records are of a type, a backend and a fault of that name, with its reason."""
    runs = []
    for number, verdict in enumerate((Verdict.INACCURATE, Verdict.REFUSED, Verdict.SUPPORTED)):
        record = record_of("llama-float32-sdpa-prefill", verdict, script, waived=Waived(reason=script, url=script))
        axes = {**record.axes, "architecture": script, "transformation": script, "quantisation": script}
        records = [
            record.model_copy(update={"cell": f"{script}-{name}", "axes": {**record.axes, **changed}})
            for name, changed in (("all", axes), ("type", {"architecture": script}))
        ]
        row = RowRecord(
            family=Family.GUIDE, name=script, about=script, urls=[script], outcome="violated", reason=script
        )
        facts = ArchitectureFacts(kind=script, family=script, traits=[script], model_type=script, auto_class=script)
        stack = make_stack({"transformers": f"{number} {script}", script: script})
        made = make_run(stack=stack, profile=script, commit=f"{script}-dirty", architectures={script: facts})
        runs.append(Published(script, Path(script), make_report(made, records, rows=[row], end=ended())))
    return runs


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_field_of_a_report_runs_in_a_question_or_its_answer(opened: Open, tmp_path: Path, script: str) -> None:
    runs = hostile_runs(script)
    reports = [run.report for run in runs]
    measured = front_of(all_series(reports), runs)
    text = render_index(Collection(runs, []), {}, (), measured, facts_of(reports), most=40, has_guide=False)
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    page = opened(tmp_path / "index.html")
    answer = ask(page, script)
    assert answer.locator(".entries button").count() > 0
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    page.evaluate("for (const one of document.querySelectorAll('.entries button, td.s a')) one.click()")
    assert page.locator(".note-body").count() > 0
    assert script.partition("'")[0] in answer.inner_text()
    assert page.evaluate("window.ran") is None
    assert page.locator("img, iframe, object, embed, svg[onload]").count() == 0
    assert page.locator("script").count() == 3
    assert set(page.locator("a").evaluate_all("all => all.map((a) => a.protocol)")) <= {"file:", "https:"}
