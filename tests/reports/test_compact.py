"""matrix.json says once what many records say, and nothing is lost by it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.axes import Attention
from matrix.cell import parse_cell
from matrix.expectation import Expectation, Outcome
from matrix.observation import Ending, Failure, Observation, Phase
from matrix.verdict import Verdict
from reports import compact
from reports.compact import SHARED, to_json
from reports.document import SCHEMA_VERSION, Record, Report, make_report
from reports.reading import read_report
from tests.builders import HONEST, PROPERTY, completed, make_run, record_of

CELLS = [f"llama-{dtype}-{attention}-prefill" for dtype in ("float32", "float16") for attention in Attention]
REFUSED = Failure(Phase.LOAD, "ValueError", "does not support it", frames=("a.py:1 f",), causes=("KeyError: 'x'",))


def report() -> Report:
    """Half of the cells within bounds, half refused in the same words."""
    rule = Expectation(Outcome.REFUSED, source="a page", type="ValueError", message="not support", phase=Phase.LOAD)
    refusal = Observation(Ending.RAISED, failure=REFUSED, declared={"_supports_sdpa": False})
    records = [
        record_of(cell, observation=completed(parse_cell(cell), seconds={"load": place / 7}))
        if place % 2
        else record_of(cell, Verdict.REFUSED, "ValueError in load", observation=refusal, expectation=rule)
        for place, cell in enumerate(CELLS)
    ]
    return make_report(make_run(*CELLS), records)


def written(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "matrix.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    whole = report()
    found = read_report(written(tmp_path, to_json(whole)))
    assert found.model_dump() == whole.model_dump() | {"power": None}
    assert found.unreadable == []


def test_what_recurs_stands_once_and_what_follows_does_not_stand() -> None:
    text = to_json(report())
    document = json.loads(text)
    assert text.count("does not support it") == 1
    assert {"axes", "waived", "demanded"} & {name for one in document["records"] for name in one} == set()
    assert all("ratio" not in bound for one in document["records"] for bound in one.get("bounds", ()))
    assert len(text.splitlines()) > len(CELLS)  # a record to a line
    assert len(text) < 0.6 * len(report().model_dump_json())


def test_what_one_record_alone_says_stays_where_it_is() -> None:
    one = make_report(make_run(CELLS[0]), report().records[:1])
    document = json.loads(to_json(one))
    assert document["shared"] == []
    assert document["records"][0]["observation"]["failure"]["message"] == "does not support it"


def test_a_report_of_the_old_schema_is_read_as_it_was(tmp_path: Path) -> None:
    old = json.loads(report().model_dump_json()) | {"schema_version": "1.7"}
    assert read_report(written(tmp_path, old)).records == report().records


def test_what_is_written_anew_says_in_which_form_it_is(tmp_path: Path) -> None:
    """Read from an old one, and with a cell that this release does not know but whose axes it has."""
    old = json.loads(report().model_dump_json()) | {"schema_version": "1.7"}
    old["records"][0]["cell"] = "llama-float32-of_the_future-prefill"
    del old["run"]["planned"][0]
    again = read_report(written(tmp_path, to_json(read_report(written(tmp_path, old)))))
    assert (again.schema_version, again.unreadable) == (SCHEMA_VERSION, [])
    assert again.records[-1].axes == report().records[0].axes


@pytest.mark.parametrize("number", [-1, 10**6, 10**30])
@pytest.mark.parametrize("place", [SHARED[0], SHARED[3], SHARED[-1]])
def test_a_number_without_a_value_is_named(tmp_path: Path, place: tuple[str, ...], number: int) -> None:
    document = json.loads(to_json(report()))
    record = document["records"][1]
    table = record
    for step in place[:-1]:
        table = table.setdefault(step, {})
    table[place[-1]] = number
    found = read_report(written(tmp_path, document))
    assert f"records: 1: {'.'.join(place)}: there is no shared value {str(number)[:20]}" in found.unreadable[0]
    assert len(found.records) == len(CELLS)  # the others, and one that is missing


@pytest.mark.parametrize("shared", [None, 3, "abc", {"a": 1}])
def test_a_list_of_values_that_is_none_is_as_good_as_empty(tmp_path: Path, shared: object) -> None:
    document = json.loads(to_json(report())) | {"shared": shared}
    found = read_report(written(tmp_path, document))
    assert "there is no shared value" in found.unreadable[0]


def test_values_are_not_multiplied_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file in which each record has the same huge value would else fill the memory."""
    monkeypatch.setattr(compact, "MOST_VALUES", 50)
    found = read_report(written(tmp_path, to_json(report())))
    assert "more than 50 values in all records together" in found.unreadable[0]


@given(place=st.sampled_from(SHARED), value=st.none() | st.integers(-2, 40) | st.booleans() | st.text(max_size=3))
@PROPERTY
def test_whatever_stands_in_place_of_a_number_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], value: object
) -> None:
    document = json.loads(to_json(report()))
    table = document["records"][0]
    for step in place[:-1]:
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            return
    table[place[-1]] = value
    found = read_report(written(tmp_path_factory.mktemp("any"), document))
    assert len(found.records) == len(CELLS)


def test_more_digits_than_errors_have_are_not_kept() -> None:
    comparison = replace(HONEST, candidate_max=1 / 3, consequences={"regret": 1 / 7})
    record = record_of(CELLS[0], observation=completed(parse_cell(CELLS[0]), comparisons=(comparison,)))
    assert isinstance(record, Record)
    (kept,) = record.observation.comparisons
    assert (kept.candidate_max, kept.consequences) == (0.333333, {"regret": 0.142857})
    assert all(len(str(bound.value)) <= 9 for bound in record.bounds)
