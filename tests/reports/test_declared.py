"""What classes declare, held against what was measured: each of the three ways to disagree, and what is none."""

from collections.abc import Mapping

import pytest

from matrix.cell import parse_cell
from matrix.verdict import Verdict
from reports.declared import Finding, by_architecture, claims_of, disagreement_line, disagreements
from reports.document import Record, Report, Waived, make_report
from reports.html import render_html
from reports.markdown import summary_markdown
from reports.text import summary_lines
from tests.builders import completed, ended, make_run, record_of
from tests.reports.test_html import Page

SDPA, FLASH, FLEX = "_supports_sdpa", "_supports_flash_attn", "_supports_flex_attn"
KNOWN = Waived(reason="a fault", url="https://example.org/1")


def measured(cell: str, verdict: Verdict = Verdict.SUPPORTED, *, known: bool = False, **declared: bool) -> Record:
    observation = completed(parse_cell(cell), declared=declared)
    return record_of(cell, verdict, observation=observation, waived=KNOWN if known else None)


def found(*records: Record) -> Mapping[tuple[Finding, str], list[str]]:
    """By finding and flag, the architectures."""
    gathered = disagreements(claims_of(records))
    return {
        (finding, flag): [claim.architecture for claim in claims]
        for finding, by_flag in gathered.items()
        for flag, claims in by_flag.items()
    }


def report_of(*records: Record) -> Report:
    return make_report(make_run(*(record.cell for record in records)), list(records), end=ended())


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("verdict", [Verdict.INACCURATE, Verdict.ERROR, Verdict.SUBSTITUTED, Verdict.CRASHED])
def test_a_flag_is_wrong_if_one_plain_cell_is_whoever_excuses_it(verdict: Verdict, known: bool) -> None:
    records = [
        measured("llama-float16-sdpa-prefill", _supports_sdpa=True),
        measured("llama-float16-sdpa-flash-generate", verdict, known=known, _supports_sdpa=True),
    ]
    assert found(*records) == {(Finding.WRONG, SDPA): ["llama"]}
    (claim,) = disagreements(claims_of(records))[Finding.WRONG][SDPA]
    assert claim.shown_by == records[1:]


@pytest.mark.parametrize("cell", ["llama-float16-sdpa-nf4-prefill", "llama-float16-sdpa-causality"])
def test_what_is_not_plain_says_nothing_of_a_flag(cell: str) -> None:
    assert found(measured(cell, Verdict.INACCURATE, _supports_sdpa=True)) == {}


@pytest.mark.parametrize("verdict", [Verdict.UNAVAILABLE, Verdict.NOT_BUILT, Verdict.MISSING, Verdict.TIMEOUT])
def test_what_was_not_measured_contradicts_nothing(verdict: Verdict) -> None:
    for declared in (True, False):
        assert found(measured("llama-float16-sdpa-prefill", verdict, _supports_sdpa=declared)) == {}


def test_a_refusal_counts_only_where_nothing_is_right() -> None:
    refused = measured("bert-float32-flash_attention_2-prefill", Verdict.REFUSED, _supports_flash_attn=True)
    assert found(refused) == {(Finding.REFUSED, FLASH): ["bert"]}
    right = measured("bert-float16-flash_attention_2-prefill", _supports_flash_attn=True)
    assert found(refused, right) == {}


@pytest.mark.parametrize("declared", [{FLEX: False}, {SDPA: True}])
def test_what_is_right_and_not_declared_is_told_whether_denied_or_left_unsaid(declared: dict[str, bool]) -> None:
    right = measured("opt-float16-flex_attention-prefill", **declared)
    assert found(right) == {(Finding.UNDECLARED, FLEX): ["opt"]}
    wrong = measured("opt-float16-flex_attention-generate", Verdict.INACCURATE, **declared)
    assert found(right, wrong) == {}


def test_of_a_class_of_which_nothing_is_known_nothing_is_contradicted() -> None:
    assert found(measured("opt-float16-sdpa-prefill")) == {}


def test_older_releases_have_a_flag_of_their_own() -> None:
    wrong = measured("opt-float16-flash_attention_2-prefill", Verdict.ERROR, _supports_flash_attn_2=True)
    assert found(wrong) == {(Finding.WRONG, "_supports_flash_attn_2"): ["opt"]}


def test_architectures_that_disagree_come_first() -> None:
    claims = claims_of(
        [measured("opt-float16-sdpa-prefill", _supports_sdpa=True), measured("t5-float16-sdpa-prefill", sdpa=True)]
    )
    assert list(by_architecture(claims)) == ["t5", "opt"]


def test_one_line_counts_them_and_there_is_none_where_nothing_disagrees() -> None:
    line = "flags of model classes against what was measured: "
    line += "1 declared and wrong, 0 declared and refused, 1 undeclared and right"
    report = report_of(
        measured("llama-float16-sdpa-prefill", Verdict.INACCURATE, known=True, _supports_sdpa=True),
        measured("opt-float16-sdpa-prefill", _supports_sdpa=False),
    )
    assert list(disagreement_line(report)) == [line]
    assert line in summary_lines(report)
    assert "1 undeclared and right" in summary_markdown(report)
    honest = report_of(measured("opt-float16-sdpa-prefill", _supports_sdpa=True))
    assert list(disagreement_line(honest)) == []
    assert "undeclared" not in summary_markdown(honest)


def test_the_page_lists_them_with_a_cell_that_shows_it() -> None:
    wrong = measured("llama-float16-sdpa-prefill", Verdict.INACCURATE, known=True, _supports_sdpa=True)
    page = Page(render_html(report_of(wrong)))
    section = page.text[page.text.rindex("Declared and measured") :]
    assert "Declared and wrong _supports_sdpa 1 architecture" in section
    assert f"llama 1 inaccurate, known {wrong.cell}" in section
    assert "Undeclared and right" not in section
    honest = Page(render_html(report_of(measured("opt-float16-sdpa-prefill", _supports_sdpa=True))))
    assert "Flags and measurement nowhere disagree" in honest.text
