"""The page: nothing in a report becomes markup, and it can be read without its script."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED, Expectation, Outcome
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Phase
from matrix.stack import Device, Gpu, Stack
from matrix.verdict import Judgement, Verdict
from reports.document import Record, Report, Run, Waived, make_record, make_report
from reports.html import LISTED_WITHOUT_SCRIPT, backends, failure_groups, is_web_address, render_html, worst_ratio
from reports.text import headline, reproducing_command
from tests.builders import ended

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


def report(*records: Record, problems: list[str] | None = None) -> Report:
    return make_report(run(*(record.cell for record in records)), list(records), end=ended(*(problems or ())))


def waived(record: Record, url: str = "https://example.org/issue/1") -> Record:
    return record.model_copy(update={"waived": Waived(reason="a fault", url=url, reproducer="fault.py")})


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
        free = {"declared", "seconds", "placement", "versions", "counts", "attention_ops", "hf_device_map"}
        return {
            key: {HOSTILE: poisoned(next(iter(part.values())))}
            if key in free and part
            else part
            if key in fixed
            else poisoned(part)
            for key, part in value.items()
        }
    return value


def test_no_field_of_a_report_becomes_markup() -> None:
    evidence = Evidence(attention_ops={"op": 1}, hf_device_map={"layer": "cpu"}, warnings=("w",), placement={"cuda": 1})
    expectation = Expectation(Outcome.REFUSED, "source", Phase.LOAD, "ValueError", "message", ("thing",))
    full = failed("llama-float32-sdpa-prefill", evidence=evidence, missing=("thing",)).model_copy(
        update={"expectation": expectation, "demanded": ["x"], "worker": "gw0", "kernels": ["flash"]}
    )
    away = failed("gpt2-float32-sdpa-prefill", verdict=Verdict.UNAVAILABLE, missing=("thing",))
    whole = report(full, away, waived(failed("opt-float32-sdpa-prefill")), supported("t5-float32-sdpa-prefill"))
    whole.unreadable.append("line 3")
    whole.problems.append("idle waiver")
    filled = json.loads(whole.model_dump_json())
    filled["run"] |= {"narrowed": "x", "commit": "x", "python": "x", "required": ["x"], "command": ["x"]}
    filled["run"]["checkpoints"] = {"x": "y"}
    document = Report.model_validate(poisoned(filled) | {"counts": {HOSTILE: 1}})

    html = render_html(document)
    page = Page(html)

    assert HOSTILE not in html
    assert "<script>alert" not in html
    assert [attributes.get("type") for attributes in page.attributes("script")] == ["application/json", None]
    assert not any("<" in text or ">" in text or "&" in text for text in page.inside["script"][:1])
    assert HOSTILE in page.data["values"]
    assert "alert" not in page.inside["script"][1]
    assert {attribute for _, attributes in page.tags for attribute in attributes if attribute.startswith("on")} == set()


def test_the_policy_allows_this_script_and_style_and_nothing_else() -> None:
    page = Page(render_html(report(supported("llama-float32-sdpa-prefill"))))
    policy = next(a["content"] for a in page.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == hashed(page.inside["script"][1])
    assert directives["style-src"] == hashed(page.inside["style"][0])
    assert not any({"style", "src", "srcset"} & attributes.keys() for _, attributes in page.tags)
    assert not page.attributes("link")


def test_the_script_never_writes_markup() -> None:
    script = Page(render_html(report(supported("llama-float32-sdpa-prefill")))).inside["script"][1]
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
    assert not page.attributes("details")


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


def test_the_script_gets_each_value_once_and_no_empty_one() -> None:
    cells = ["llama-float32-sdpa-prefill", "llama-float32-sdpa-generate"]
    data = Page(render_html(report(*map(supported, cells)))).data
    rows = [{name: data["values"][at] for name, at in zip(data["fields"], row, strict=True)} for row in data["rows"]]
    assert [row["cell"] for row in rows] == cells
    assert rows[0]["declared"] == FLAGS
    assert "failure" not in data["fields"]
    assert data["values"].count(FLAGS) == 1
    assert None not in data["values"][1:]
    assert data["command"].replace("{cell}", cells[0]) == reproducing_command(cells[0])


def test_numbers_that_json_lacks_survive_as_words() -> None:
    broken = Comparison("logits", 8, True, True, False, float("nan"), float("inf"), 1.0, 1.0, 0.0, 0.0)
    record = failed("llama-float32-sdpa-prefill", verdict=Verdict.INACCURATE, comparisons=(broken,))
    page = Page(render_html(report(record)))
    assert worst_ratio(record) != worst_ratio(record)
    row = dict(zip(page.data["fields"], page.data["rows"][0], strict=True))
    assert page.data["values"][row["worst"]] == "nan"
    assert page.data["values"][row["comparisons"]][0]["candidate_mean"] == "inf"


def test_a_long_list_is_left_to_the_script_and_the_page_says_so() -> None:
    record = supported("llama-float32-sdpa-prefill")
    short, long = report(record), report(record)
    long.records = [record] * (LISTED_WITHOUT_SCRIPT + 1)
    assert "The list of cells, filters and details need JavaScript; matrix.json" in Page(render_html(long)).text
    assert "Filters and the details of a cell need JavaScript" in Page(render_html(short)).text
    assert record.cell in Page(render_html(short)).text
