"""Known facts of releases come out of published intervals by themselves, and one that did not would be seen."""

from dataclasses import replace

import pytest

from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.document import RowRecord, make_report
from reports.reading import read_report
from reports.support import Series, all_series
from tests.builders import ROOT, ended, make_run, make_stack, record_of
from tests.known_facts import Answer, beside, read_facts

FACT = next(fact for fact in read_facts() if "`load_in_4bit=`" in fact.about)
SAID = "TypeError: x got an unexpected keyword argument 'load_in_4bit'"
_ON_H100 = ("4.48.3", "5.17.0")
CELL = "llama-bfloat16-sdpa-prefill"


@pytest.fixture(scope="module")
def published() -> list[Series]:
    """Of the runs that have rows; those of many architectures have none, and take long to read."""
    paths = sorted((ROOT / "reports" / "published").glob("*-guide.json.gz"))
    pairwise = ("cpu-torch2.13.0-transformers5.23.0", *(f"nvidia-h100-torch2.11.0-transformers{v}" for v in _ON_H100))
    paths += [ROOT / "reports" / "published" / f"{name}.json.gz" for name in pairwise]
    return all_series(map(read_report, paths))


def test_no_published_run_contradicts_a_fact_and_most_are_shown(published: list[Series]) -> None:
    found = list(beside(read_facts(), published))
    assert [one for one in found if one.answer is Answer.CONTRADICTED] == []
    assert len({one.fact.about for one in found if one.answer is Answer.SHOWN}) >= 8
    assert len(read_facts()) >= 10


def test_every_fact_turned_around_is_contradicted_by_what_shows_it(published: list[Series]) -> None:
    shown = {one.fact.about for one in beside(read_facts(), published) if one.answer is Answer.SHOWN}
    turned = [replace(fact, so=fact.not_so, not_so=fact.so) for fact in read_facts() if fact.about in shown]
    found = list(beside(turned, published))
    assert {one.fact.about for one in found if one.answer is Answer.CONTRADICTED} == shown


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("holds", "refused", Answer.SHOWN),
        ("unavailable", "refused", Answer.ONE_SIDE),
        ("holds", "holds", Answer.CONTRADICTED),
        ("refused", "refused", Answer.CONTRADICTED),
        ("unavailable", "unavailable", Answer.UNMEASURED),
    ],
)
def test_a_fact_is_shown_where_both_sides_were_measured(old: str, new: str, answer: Answer) -> None:
    reports = []
    for version, outcome in (("4.57.6", old), ("5.0.0", new)):
        row = RowRecord(family=Family.GUIDE, name=FACT.row.partition(":")[2], outcome=RowOutcome(outcome), reason=SAID)
        made = make_run(CELL, stack=make_stack({"transformers": version}))
        reports.append(make_report(made, [record_of(CELL, Verdict.SUPPORTED)], rows=[row], end=ended()))
    (found,) = beside([FACT], all_series(reports))
    assert found.answer is answer
