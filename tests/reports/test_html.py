"""The page: nothing in a report becomes markup, and it can be read without its script."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from matrix.cell import parse_cell
from matrix.dials import Reading
from matrix.expectation import SUPPORTED, Expectation, Outcome
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Phase
from matrix.rows import Family, RowOutcome
from matrix.stack import Device, Gpu, Stack
from matrix.verdict import Judgement, Verdict
from reports.causes import failure_groups
from reports.document import ArchitectureFacts, Bound, Record, Report, RowRecord, Run, Waived, make_record, make_report
from reports.html import CAUSES_SHOWN, LISTED_WITHOUT_SCRIPT, is_web_address, reference, render_html
from reports.power import Power, Rules, Trial, summarise
from reports.text import headline, reproducing_command, row_command
from reports.views import backends, by_property, gravest_first, kernels, known_faults, worst_ratio
from tests.builders import ended, read, record_of

HOSTILE = "</script><script>alert(1)</script>"
FLAGS = {"_supports_sdpa": True, "_supports_flash_attn": True, "_supports_flex_attn": False}
CLOSE = Comparison("logits", 8, True, True, True, 1e-6, 1e-7, 1e-6, 1e-7, 1e-8, 1e-9)


def run(*cells: str) -> Run:
    stack = Stack({"torch": "2.13.0"}, Device.CUDA, (Gpu("NVIDIA H100", 81559, "9.0"),), driver="580.1")
    return Run(started=datetime(2026, 1, 2, tzinfo=UTC), profile="pairwise", stack=stack, planned=list(cells))


def supported(cell: str, declared: dict[str, bool] | None = None) -> Record:
    return make_record(
        parse_cell(cell),
        judgement=Judgement(Verdict.SUPPORTED, "logits max at 0.50 of its bound"),
        expectation=SUPPORTED,
        observation=Observation(Ending.COMPLETED, comparisons=(CLOSE,), declared=declared or FLAGS),
    )


def failed(
    cell: str, reason: str = "ValueError in forward: no", verdict: Verdict = Verdict.ERROR, **observed: Any
) -> Record:
    given: dict[str, Any] = {"failure": Failure(Phase.FORWARD, "ValueError", "no"), "declared": FLAGS} | observed
    return make_record(
        parse_cell(cell),
        judgement=Judgement(verdict, reason),
        expectation=SUPPORTED,
        observation=Observation(Ending.RAISED, **given),
    )


def report(*records: Record, problems: list[str] | None = None, rows: list[RowRecord] | None = None) -> Report:
    planned = run(*(record.cell for record in records))
    return make_report(planned, list(records), rows=rows, end=ended(*(problems or ())))


def row(name: str, outcome: RowOutcome = RowOutcome.VIOLATED, *, excused: bool = False, **changes: Any) -> RowRecord:
    """A property if its name has a kernel in brackets, a reported failure otherwise."""
    given = {"family": Family.PROPERTY if "[" in name else Family.REGRESSION, "outcome": outcome, **changes}
    if excused:
        given["waived"] = Waived(reason="a known fault", url="https://example.org/known", reproducer="known.py")
    return RowRecord(name=name, **given)


def everything() -> Report:
    """A report with something in each of its fields."""
    evidence = Evidence(attention_ops={"op": 1}, hf_device_map={"layer": "cpu"}, warnings=("w",), placement={"cuda": 1})
    expectation = Expectation(Outcome.REFUSED, "source", Phase.LOAD, "ValueError", "message", missing=("thing",))
    full = failed("llama-float32-sdpa-prefill", evidence=evidence, missing=("thing",)).model_copy(
        update={"expectation": expectation, "demanded": ["x"], "worker": "gw0", "kernels": ["flash"]}
    )
    away = failed("gpt2-float32-sdpa-prefill", verdict=Verdict.UNAVAILABLE, missing=("thing",))
    said = {"about": "x", "urls": ["https://example.org/x"], "reason": "x", "example": "x"}
    rows = [
        row(name, outcome, excused=excused, **said)
        for outcome in RowOutcome
        for excused in (False, True)
        for name in (f"a_{outcome}_{excused}", f"b_{outcome}_{excused}[flash]")
    ]
    whole = report(
        full,
        away,
        waived(failed("opt-float32-sdpa-prefill")),
        supported("t5-float32-sdpa-prefill"),
        supported("t5-float32-sdpa-causality"),
        problems=["idle waiver"],
        rows=rows,
    )
    facts = ArchitectureFacts(kind="decoder", family="text decoder", traits=["moe"], weak="one layer")
    whole.run.architectures = {"llama": facts}
    whole.unreadable.append("line 3")
    seen = {"dtype": "float32", "cell": "c", "architecture": "llama", "verdict": "supported", "ratio": 0.5}
    trials = [
        Trial.model_validate({"fault": fault, "percent": percent, "caught": Rules(suite=caught), **seen})
        for fault, percent, caught in (("", None, False), ("x", None, False), ("x", 2, True))
    ]
    when, stack = whole.finished, whole.run.stack
    whole.power = summarise(Power(started=when, finished=when, stack=stack, faults={"x": "y"}, trials=trials))
    return whole


def waived(record: Record, url: str = "https://example.org/issue/1") -> Record:
    return record.model_copy(update={"waived": Waived(reason="a fault", url=url, reproducer="fault.py")})


def unpacked(value: Any, shapes: list[list[str]]) -> Any:
    if not isinstance(value, list):
        return value
    shape, *parts = value
    whole = [unpacked(part, shapes) for part in parts]
    return dict(zip(shapes[shape - 1], whole, strict=True)) if shape else whole


class Page(HTMLParser):
    """Scripts and their types, links, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "text": []}
        self._raw: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._raw = tag
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._raw:
            self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw:
            self.inside[self._raw][-1] += data
        else:
            self.inside["text"].append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def data(self) -> Any:
        return json.loads(self.inside["script"][0])

    @property
    def details(self) -> Any:
        block = json.loads(self.inside["script"][1])
        return {**block, "values": [unpacked(value, block["shapes"]) for value in block["values"]]}

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.inside["text"]).split())


def poisoned(value: Any) -> Any:
    """The value with every string in it hostile, but for the words of enumerations and the keys of the axes."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list):
        return [poisoned(part) for part in value]
    if isinstance(value, dict):
        fixed = {"kind", "verdict", "outcome", "phase", "ending", "device", "started", "finished", "first_verdict"}
        fixed |= {"family", "dtype"}
        free = {
            "declared",
            "seconds",
            "placement",
            "versions",
            "counts",
            "attention_ops",
            "hf_device_map",
            "float32",
            "architectures",
        }
        return {
            key: dict.fromkeys(part, HOSTILE)
            if key == "axes"
            else {HOSTILE: poisoned(next(iter(part.values())))}
            if key in free and part and isinstance(part, dict) and "asked" not in part
            else part
            if key in fixed
            else poisoned(part)
            for key, part in value.items()
        }
    return value


def test_no_field_of_a_report_becomes_markup() -> None:
    whole = everything()
    filled = json.loads(whole.model_dump_json())
    filled["run"] |= {"narrowed": "x", "commit": "x", "python": "x", "required": ["x"], "command": ["x"]}
    filled["run"]["checkpoints"] = {"x": "y"}
    document = Report.model_validate(poisoned(filled) | {"counts": {HOSTILE: 1}})
    assert document.power is not None
    document.power.stack = replace(document.power.stack, versions={HOSTILE: f"{HOSTILE} of another version"})

    html = render_html(document)
    page = Page(html)

    assert HOSTILE not in html
    assert "<script>alert" not in html
    assert [attributes.get("type") for attributes in page.attributes("script")] == [
        "application/json",
        "application/json",
        "application/json",
        None,
    ]
    assert not any("<" in text or ">" in text or "&" in text for text in page.inside["script"][:3])
    assert HOSTILE in page.data["values"]
    assert any(HOSTILE in value for value in page.details["values"] if isinstance(value, list | dict))
    assert "alert" not in page.inside["script"][3]
    assert {attribute for _, attributes in page.tags for attribute in attributes if attribute.startswith("on")} == set()
    assert [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "embed", "base", "link", "use")] == []
    # All of it is there to be read: 16 rows, of which those that are shown twice or thrice are not lost either.
    assert page.text.count(HOSTILE) > 16 * 3
    assert f"{HOSTILE} of another version, here {HOSTILE}" in page.text
    assert all(str(link["href"]).startswith(("#", "https://example.org/")) for link in page.attributes("a"))


@pytest.mark.parametrize("name", [f"{HOSTILE}[{HOSTILE}]", f"a[{HOSTILE}]", 'a["><b>]', "a['onclick='x]"])
def test_neither_a_property_nor_its_kernel_becomes_markup(name: str) -> None:
    said = {"reason": "<b>r</b>", "example": "<b>e</b></pre>", "about": "<b>a</b>"}
    html = render_html(report(rows=[row(name, excused=True, **said), row(f"{name}[math]", **said)]))
    assert HOSTILE not in html
    assert not Page(html).attributes("b")[1:]  # the one is the version of torch
    assert name in Page(html).text


def test_neither_backend_nor_dtype_of_a_histogram_becomes_markup() -> None:
    record = supported("llama-float32-sdpa-prefill")
    strange = record.model_copy(update={"axes": record.axes | {"dtype": HOSTILE, "attention": HOSTILE}})
    html = render_html(report(strange))
    page = Page(html)
    assert HOSTILE not in html
    assert f"{HOSTILE} rule dtype" in page.text
    assert f"max {HOSTILE} 1 0." in page.text


@pytest.mark.parametrize("whole", [True, False])
def test_the_policy_allows_this_script_and_style_and_nothing_else(whole: bool) -> None:
    page = Page(render_html(everything() if whole else report(supported("llama-float32-sdpa-prefill"))))
    policy = next(a["content"] for a in page.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    closed = {"default-src", "base-uri", "form-action", "trusted-types"}
    assert set(directives) == closed | {"script-src", "style-src", "require-trusted-types-for"}
    assert {directives[name] for name in closed} == {"'none'"}
    assert directives["require-trusted-types-for"] == "'script'"
    assert directives["script-src"] == hashed(page.inside["script"][3])
    assert directives["style-src"] == hashed(page.inside["style"][0])
    assert not any({"style", "src", "srcset"} & attributes.keys() for _, attributes in page.tags)
    assert not page.attributes("link")


def test_the_script_never_writes_markup() -> None:
    script = Page(render_html(report(supported("llama-float32-sdpa-prefill")))).inside["script"][3]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)


def test_headline_and_failures_stand_before_the_matrix() -> None:
    cell = "llama-float32-flex_attention-generate"
    document = report(supported("llama-float32-sdpa-prefill"), failed(cell), problems=["waiver 1: the fault is gone"])
    text = Page(render_html(document)).text
    before = text[: text.index("Each entry counts the plan cells")]
    for part in (headline(document), cell, "ValueError in forward: no", SUPPORTED.source, reproducing_command(cell)):
        assert part in before
    assert "waiver 1: the fault is gone" in before


def test_a_report_without_failures_says_so() -> None:
    page = Page(render_html(report(supported("llama-float32-sdpa-prefill"))))
    assert "None: every cell is as documented" in page.text
    assert not page.attributes("details")


def test_a_report_without_cells_renders() -> None:
    assert "0 cells, 0 executed" in Page(render_html(report())).text


def test_a_required_cell_that_is_unavailable_is_a_failure() -> None:
    record = failed("llama-float32-flash_attention_3-prefill", "not here: flash-attn-3", Verdict.UNAVAILABLE)
    text = Page(render_html(report(record.model_copy(update={"demanded": ["flash-attn-3"]})))).text
    assert "required but unavailable" in text[: text.index("Each entry counts")]


def test_failures_that_differ_in_numbers_alone_are_one_group_and_the_gravest_comes_first() -> None:
    groups = failure_groups(
        [
            failed("llama-float32-sdpa-prefill", "max error 3.21 exceeds 1.4e-05", Verdict.SUBSTITUTED),
            failed("gpt2-float32-sdpa-prefill", "max error 7 exceeds 0.2", Verdict.SUBSTITUTED),
            failed("gpt2-float32-eager-prefill", "int8 ran, not int4", Verdict.SUBSTITUTED),
            failed("t5-float32-sdpa-prefill", "died", Verdict.CRASHED),
        ]
    )
    assert [len(group.records) for group in groups] == [1, 2, 1]
    assert groups[0].first.verdict is Verdict.CRASHED


@pytest.mark.parametrize(("causes", "folded"), [(CAUSES_SHOWN, 0), (CAUSES_SHOWN + 1, 1)])
def test_of_many_causes_the_last_are_folded_but_there(causes: int, folded: int) -> None:
    records = [failed(f"a{number}-float32-sdpa-prefill", "x" * number) for number in range(1, causes + 1)]
    page = Page(render_html(report(*records)))
    boxes = [details for details in page.attributes("details") if str(details["class"]).startswith("failure")]
    assert len(boxes) == causes
    assert sum(details["class"] == "causes" for details in page.attributes("details")) == folded
    assert (f"{folded} more causes, of {folded} cells" in page.text) is bool(folded)


def test_rows_that_fail_of_one_cause_are_one_box() -> None:
    rows = [row(f"r{number}", RowOutcome.MISSING, reason=f"nothing after {number} s") for number in range(1200)]
    page = Page(render_html(report(rows=[*rows, row("there", reason="nothing after 1 s")])))
    boxes = [details for details in page.attributes("details") if str(details["class"]).startswith("failure")]
    assert len(boxes) == 2
    assert "missing 1,200 rows nothing after # s reported failures r0 nothing after 0 s" in page.text
    assert "And 1,000 more" in page.text
    assert row_command(rows[199]) in page.text


def test_a_disagreement_of_flag_and_measurement_shows_and_comes_first() -> None:
    document = report(
        supported("bert-float32-flash_attention_2-prefill"),
        failed("llama-float32-flash_attention_2-prefill"),
        supported("llama-float32-sdpa-prefill"),
        supported("llama-float32-flex_attention-prefill"),
    )
    text = Page(render_html(document)).text
    table = text[text.index("What the model class declares") : text.index("No cell of this run is excused")]
    assert "disagree _supports_flash_attn True measured: not supported 1 error" in table
    assert "disagree _supports_flex_attn False measured: supported 1 supported" in table
    assert table.index("llama") < table.index("bert")
    assert table.count("disagree ") == 2
    assert table.count("not measured") == 2


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.org/a?b=1", True),
        ("http://example.org", True),
        ("javascript:alert(1)", False),
        ("JavaScript://example.org/%0Aalert(1)", False),
        ("data:text/html,x", False),
        ("//example.org", False),
        ("https:", False),
        ("https://[broken", False),
        ("see the docs", False),
    ],
)
def test_only_web_addresses_become_links(url: str, allowed: bool) -> None:
    page = Page(render_html(report(waived(failed("llama-float32-sdpa-prefill"), url))))
    links = [attributes for attributes in page.attributes("a") if not str(attributes["href"]).startswith("#")]
    assert is_web_address(url) is allowed
    assert [link["href"] for link in links] == ([url] if allowed else [])
    assert all("noopener" in str(link["rel"]) for link in links)
    assert url in page.text


def test_a_known_fault_is_listed_once_and_is_no_failure() -> None:
    cells = ("llama-float32-sdpa-prefill", "gpt2-float32-sdpa-prefill")
    page = Page(render_html(report(*(waived(failed(cell)) for cell in cells))))
    assert page.text.count("a fault") == 1
    assert "fault.py" in page.text
    assert "2 error, known" in page.text
    assert "failure" not in {details["class"] for details in page.attributes("details")}


def test_columns_stand_in_the_order_of_the_axes() -> None:
    names = ["flex_attention", "sdpa-cudnn", "flash_attention_2", "sdpa", "sdpa-flash", "eager"]
    records = [supported(f"llama-float16-{name}-prefill") for name in names]
    strange = records[0].model_copy(update={"axes": records[0].axes | {"attention": "new"}})
    assert backends([strange, *records]) == [
        "eager",
        "sdpa",
        "sdpa (flash)",
        "sdpa (cudnn)",
        "flash_attention_2",
        "flex_attention",
        "new",
    ]


def rows_of(block: Any) -> list[dict[str, Any]]:
    return [{name: block["values"][at] for name, at in zip(block["fields"], row, strict=True)} for row in block["rows"]]


def test_the_script_gets_each_value_once_and_no_empty_one() -> None:
    cells = ["llama-float32-sdpa-prefill", "llama-float32-sdpa-generate"]
    page = Page(render_html(report(*map(supported, cells))))
    assert [row["cell"] for row in rows_of(page.data)] == cells
    assert [row["declared"] for row in rows_of(page.details)] == [FLAGS, FLAGS]
    assert "failure" not in page.details["fields"]
    assert page.details["values"].count(FLAGS) == 1
    assert None not in [*page.data["values"][1:], *page.details["values"][1:]]
    assert page.data["command"].replace("{cell}", cells[0]) == reproducing_command(cells[0])


def test_what_only_the_panel_of_a_cell_shows_is_apart_from_what_every_view_needs() -> None:
    page = Page(render_html(report(failed("llama-float32-sdpa-prefill"))))
    (listed,), (detail,) = rows_of(page.data), rows_of(page.details)
    assert {"cell", "backend", "dtype", "verdict", "reason"} <= set(listed)
    assert {"expectation", "failure"} <= set(detail)
    assert set(listed).isdisjoint(detail)


def test_numbers_that_json_lacks_survive_as_words() -> None:
    broken = Comparison("logits", 8, True, True, False, float("nan"), float("inf"), 1.0, 1.0, 0.0, 0.0)
    record = failed("llama-float32-sdpa-prefill", verdict=Verdict.INACCURATE, comparisons=(broken,))
    page = Page(render_html(report(record)))
    assert worst_ratio(record) != worst_ratio(record)
    assert rows_of(page.data)[0]["worst"] == "nan"
    assert rows_of(page.details)[0]["comparisons"][0]["candidate_mean"] == "inf"


def test_a_long_list_is_left_to_the_script_and_the_page_says_so() -> None:
    record = supported("llama-float32-sdpa-prefill")
    short, long = report(record), report(record)
    long.records = [record] * (LISTED_WITHOUT_SCRIPT + 1)
    assert "The list of cells, other views and details need JavaScript; matrix.json" in Page(render_html(long)).text
    assert "Other views and the details of a cell need JavaScript" in Page(render_html(short)).text
    assert record.cell in Page(render_html(short)).text


def test_every_link_to_a_section_leads_somewhere_and_no_id_is_given_twice() -> None:
    for document in (everything(), report()):
        page = Page(render_html(document))
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        targets = [str(link["href"])[1:] for link in page.attributes("a") if str(link["href"]).startswith("#")]
        assert {target for target in targets if "=" not in target and "%3D" not in target} <= set(ids)
        labels = {attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes}
        assert labels - {"detail-title"} <= set(ids)  # the script makes that one


def test_every_head_of_a_table_says_what_it_heads_and_drawings_are_left_out_of_the_text() -> None:
    page = Page(render_html(everything()))
    assert all(head.get("scope") in ("row", "col", "rowgroup", "colgroup") for head in page.attributes("th"))
    assert len(page.attributes("svg")) > 5
    assert all(drawing.get("aria-hidden") == "true" for drawing in page.attributes("svg"))
    named = ("reported", "properties", "panel", "rules", "limits", "seeded", "misses")
    tables = [table.get("class") for table in page.attributes("table")]
    assert set(named) <= set(tables)
    assert len(page.attributes("caption")) == sum(name in named for name in tables)


def test_what_is_still_there_comes_first_and_of_that_the_known_last() -> None:
    rows = [
        row("away", RowOutcome.UNAVAILABLE),
        row("gone", RowOutcome.HOLDS),
        row("lost", RowOutcome.MISSING),
        row("known", excused=True),
        row("there"),
        row("kernel[flash]"),
    ]
    ordered = [found.name for found in gravest_first(rows, Family.REGRESSION)]
    assert ordered == ["there", "known", "lost", "gone", "away"]
    text = Page(render_html(report(rows=rows))).text
    table = text[text.index("5 reports, those that are still there first") : text.index("Properties by kernel")]
    shown = "still there there|still there, known known|missing lost|fixed gone|not reachable here away"
    assert re.findall(shown, table) == shown.split("|")


def test_a_reported_failure_has_its_reports_its_reason_and_what_excuses_it() -> None:
    url, odd = "https://github.com/huggingface/transformers/issues/29075", "javascript:alert(1)"
    known = row("known", excused=True, about="NaN in a padded row", urls=[url, odd], reason="3 of 8 are NaN")
    page = Page(render_html(report(rows=[known])))
    table = page.text[page.text.index("those that are still there first") :]
    assert "NaN in a padded row huggingface/transformers#29075 , javascript:alert(1) 3 of 8 are NaN" in table
    assert "Known upstream fault: a known fault https://example.org/known , reproduced by known.py" in table
    links = {str(link["href"]) for link in page.attributes("a") if not str(link["href"]).startswith("#")}
    assert links == {url, "https://example.org/known"}


@pytest.mark.parametrize(
    ("url", "short"),
    [
        ("https://github.com/a/b-c/issues/12", "a/b-c#12"),
        ("https://github.com/a/b.c/pull/12", "a/b.c#12"),
        ("https://github.com/a/b/pull/12/files", None),
        ("https://github.com/a/b/pull/12#issuecomment-1", None),
        ("https://github.com.evil.org/a/b/pull/12", None),
        ("https://evil.org/?https://github.com/a/b/pull/12", None),
        ("http://github.com/a/b/pull/12", None),
        ("https://github.com/a/b/pull/12\n", None),
    ],
)
def test_only_an_issue_on_github_is_shortened(url: str, short: str | None) -> None:
    assert reference(url) == (short or url)


def test_a_property_is_a_line_and_each_kernel_a_column() -> None:
    rows = [
        row("right[cudnn]", RowOutcome.UNAVAILABLE, about="The output is right.", reason="no cudnn here"),
        row("right[flash]", RowOutcome.HOLDS, about="The output is right."),
        row("finite[unpinned]", about="No NaN.", reason="AssertionError: nan", example="Call(keys=2)\n  scale=-0.5"),
        row("finite[new]", RowOutcome.HOLDS, about="No NaN."),
        row("finite[flash]", excused=True),
    ]
    assert kernels(rows) == ["unpinned", "flash", "cudnn", "new"]
    ordered = gravest_first(rows, Family.PROPERTY)
    assert [(found.name, found.about) for found in by_property(ordered)] == [
        ("finite", "No NaN."),
        ("right", "The output is right."),
    ]
    page = Page(render_html(report(rows=rows)))
    text = page.text[page.text.index("Properties by kernel") :]
    assert "property unpinned flash cudnn new finite No NaN. ✕ violated ✕ violated, known ✓ holds" in text
    assert "right The output is right. ✓ holds – unavailable" in text
    assert "Unavailable, because: no cudnn here (1)" in text
    violated = text[text.index("Violated") :]
    for part in ("finite[unpinned] AssertionError: nan", "Call(keys=2) scale=-0.5", row_command(rows[2])):
        assert part in violated
    assert "finite[flash]" in violated
    assert "Known upstream fault: a known fault" in violated
    assert "Call(keys=2)\n  scale=-0.5</code></pre>" in render_html(report(rows=rows))


def test_a_property_without_a_kernel_in_its_name_keeps_its_place() -> None:
    odd = row("alone", RowOutcome.HOLDS, family=Family.PROPERTY)
    assert by_property([odd])[0].by_kernel == {"": odd}
    assert "property no kernel named alone ✓ holds" in Page(render_html(report(rows=[odd]))).text


def test_rows_that_fail_are_among_the_failures_and_no_others_are() -> None:
    rows = [
        row("there", reason="3 of 8 are NaN", urls=["https://example.org/1"]),
        row("right[flash]", reason="error nan", example="Call(keys=2)"),
        row("lost[math]", RowOutcome.MISSING, reason="planned, but nothing came"),
        row("known", excused=True, reason="excused"),
        row("gone", RowOutcome.HOLDS),
    ]
    page = Page(render_html(report(supported("llama-float32-sdpa-prefill"), rows=rows)))
    before = page.text[: page.text.index("Each entry counts")]
    failures = before[before.rindex("Failures") :]
    assert "3 rows fail the run" in failures
    for part in ("✕ still there there 3 of 8 are NaN", "https://example.org/1", "Call(keys=2)", "? missing lost[math]"):
        assert part in failures
    assert row_command(rows[1]) in failures
    assert "excused" not in failures
    assert "gone" not in failures
    assert "None:" not in failures


def test_rows_that_do_not_fail_leave_the_failures_empty() -> None:
    rows = [row("known", excused=True), row("gone", RowOutcome.HOLDS), row("away[flash]", RowOutcome.UNAVAILABLE)]
    text = Page(render_html(report(rows=rows))).text
    assert "None: every cell is as documented or shows a known upstream fault, and no reported failure" in text


def test_the_headline_tells_of_each_family() -> None:
    rows = [row("there"), row("known", excused=True), row("right[flash]", RowOutcome.HOLDS)]
    document = report(supported("llama-float32-sdpa-prefill"), rows=rows)
    text = Page(render_html(document)).text
    assert "2 reported failures: 2 still there (1 known); 1 kernel property: 1 holds" in text
    assert headline(document) in text


def test_a_fault_that_only_rows_show_is_among_the_known_ones() -> None:
    rows = [row("known", excused=True), row("right[flash]", excused=True), row("there")]
    record = waived(failed("llama-float32-sdpa-prefill"))
    found = known_faults([record], rows)
    assert [(fault.records, fault.rows) for fault in found] == [([record], []), ([], rows[:2])]
    text = Page(render_html(report(record, rows=rows))).text
    listed = text[text.index("fault reported at") :]
    assert "cells and rows" in listed
    assert "known still there, known right[flash] violated, known" in listed


@pytest.mark.parametrize("name", ["there", "right[flash]"])
def test_a_family_without_rows_has_no_section(name: str) -> None:
    text = Page(render_html(report(supported("llama-float32-sdpa-prefill"), rows=[row(name)]))).text
    assert ("those that are still there first" in text) == (name == "there")
    assert ("Properties by kernel" in text) == (name != "there")
    bare = Page(render_html(report(supported("llama-float32-sdpa-prefill")))).text
    assert not any(word in bare for word in ("Reported failures", "Properties of", "fail the run:", "cells and rows"))


def test_the_distributions_stand_beside_their_numbers_and_relations_apart() -> None:
    bounds = [("logits max", 0.25), ("logits mean", 0.5)]
    near, far = (
        supported(cell).model_copy(
            update={"bounds": [Bound(name=name, value=1, allowed=1, ratio=factor * at) for name, at in bounds]}
        )
        for cell, factor in (("llama-float32-sdpa-prefill", 1), ("gpt2-float32-sdpa-prefill", 4))
    )
    related = supported("llama-bfloat16-eager-causality")
    page = Page(render_html(report(near, waived(far), related)))
    text = page.text[page.text.rindex("How close to the bounds") : page.text.rindex("What this suite can see")]
    assert "2 of 3 judged cells keep every bound" in text
    assert "1 exceed one, all of them known" in text
    assert "max float32 2 0.25 1.00 1.00 0" in text
    assert "mean float32 2 0.50 2.00 2.00 1 , all known" in text
    assert text.index("sdpa rule") < text.index("Relations") < text.index("eager rule")
    drawn = [attributes["class"] for tag, attributes in page.tags if tag == "rect" and "class" in attributes]
    assert drawn.count("beyond") == 1


def test_a_run_in_which_nothing_was_judged_says_so() -> None:
    assert "No cell of this run was held against a bound" in Page(render_html(report())).text
    assert "How close to the bounds No cell" in Page(render_html(report(failed("llama-float32-sdpa-prefill")))).text


def test_known_faults_say_which_dial_explains_their_wrong_numbers() -> None:
    known = Waived(reason="scaled twice", url="https://example.org/1")
    other = Waived(reason="loses its window", url="https://example.org/2")
    cell, unread = parse_cell("llama-bfloat16-sdpa-prefill"), "llama-bfloat16-sdpa-generate"
    turned, honest = Reading("scale", "%", 5.0, 0.03, 0.99), Reading("scale", "%", 0.0, 0.03, 0.0)

    def faults(*records: Record) -> str:
        page = render_html(report(*records))
        return page[page.index('id="faults"') : page.index('id="absent"')]

    wrong = record_of(cell.id, Verdict.INACCURATE, observation=read(cell, turned), waived=known)
    lost = record_of("gpt2-bfloat16-sdpa-prefill", Verdict.INACCURATE, observation=read(cell, honest), waived=other)
    away = record_of(unread, Verdict.INACCURATE, waived=known)
    shown = faults(wrong, lost, away)
    assert "<div>softmax scale +5.000 ± 0.030 %: explains 99 % of the error in 1 cell</div>" in shown
    assert "<div>no dial explains the error in 1 cell</div>" in shown
    assert "<div>not read in 1 cell</div>" in shown
    old = faults(away)
    assert "what the dials say" not in old
    assert "was not read in this run" in old
    crashed = faults(record_of(unread, Verdict.CRASHED, waived=known))
    assert "dial" not in crashed


def test_failures_of_one_cause_say_what_the_dials_say_of_them() -> None:
    cell = parse_cell("llama-bfloat16-sdpa-prefill")
    turned = Reading("scale", "%", 5.0, 0.03, 0.99)
    wrong = record_of(cell.id, Verdict.INACCURATE, "off by 3", observation=read(cell, turned))
    unread = record_of("llama-bfloat16-sdpa-generate", Verdict.INACCURATE, "off by 4")
    shown = re.search(r"<dt>Dials</dt><dd>(.*)</dd>", render_html(report(wrong, unread)))
    assert shown is not None
    assert re.findall("<div>(.*?)</div>", shown[1]) == [
        "softmax scale +5.000 ± 0.030 %: explains 99 % of the error in 1 cell",
        "not read in 1 cell",
    ]
    assert "<dt>Dials</dt>" not in render_html(report(unread))


def test_gpus_of_one_kind_are_counted() -> None:
    one = report(supported("llama-float32-eager-prefill"))
    assert "NVIDIA H100 <small>compute 9.0, 81,559 MiB</small>" in render_html(one)
    stack = replace(one.run.stack, gpus=one.run.stack.gpus * 2)
    two = one.model_copy(update={"run": one.run.model_copy(update={"stack": stack})})
    assert "2 × NVIDIA H100 <small>compute 9.0, 81,559 MiB each</small>" in render_html(two)
