"""The table by which plans are divided: from seconds to costs, and back from the file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from matrix import costs as costs_module
from matrix.cell import parse_cell
from matrix.costs import Costs, load_costs
from matrix.errors import UsageError
from matrix.observation import Price, Side
from matrix.rows import Family, RowOutcome
from reports.costs import costs_of, toml_lines, took_time
from reports.document import Report, RowRecord, make_report
from tests.builders import make_run, record_of

KINDS = {"eager-prefill": 1.0, "sdpa-prefill": 3.0}
FACTORS = {"llama": 1.0, "bert": 4.0}


def report(machine: float, row: float = 0.0) -> Report:
    """A run whose seconds are explained by the machine, the kind and the architecture."""
    taken = {f"{a}-float32-{k}": machine * f * c for a, f in FACTORS.items() for k, c in KINDS.items()}
    rows = [RowRecord(family=Family.PROPERTY, name="slow", outcome=RowOutcome.HOLDS, seconds=row)] if row else []
    records = [record_of(cell, took=seconds) for cell, seconds in taken.items()]
    return make_report(make_run(*taken), records, rows=rows)


def test_costs_are_those_that_explain_the_seconds_whatever_the_machine() -> None:
    found = costs_of([report(0.1, row=1.0), report(7.0, row=70.0)])
    kinds, factors = found.cells, found.architectures
    assert kinds["sdpa prefill none"] == pytest.approx(3 * kinds["eager prefill none"])
    assert factors["bert"] == pytest.approx(4 * factors["llama"])
    every = [found.of_cell(parse_cell(f"{a}-float32-{k}")) for a in FACTORS for k in KINDS]
    assert sum(every) / len(every) == pytest.approx(1.0)
    assert found.of_row("property:slow") == pytest.approx(10 / 5)


def test_a_report_without_times_says_nothing() -> None:
    assert took_time(report(1.0))
    assert not took_time(report(0.0))


def test_seconds_of_pricing_are_of_no_cell() -> None:
    priced = report(1.0)
    for record in priced.records:
        record.took += 9.0
        price = Price("cache", "twin", "pass", Side(()), Side(()), spent=9.0)
        record.observation = replace(record.observation, price=price)
    assert costs_of([priced]) == costs_of([report(1.0)])


@pytest.mark.parametrize("axis", ["architecture", "attention"])
def test_what_can_be_no_key_of_the_table_is_left_out(axis: str) -> None:
    strange = report(1.0)
    strange.records[0].axes[axis] = 'a"\0'
    assert "\0" not in "\n".join(toml_lines(costs_of([strange])))
    for record in strange.records:
        record.axes[axis] = 'a"\0'
    assert not took_time(strange)


def test_the_table_survives_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "costs.toml"
    monkeypatch.setattr(costs_module, "COSTS_FILE", path)
    path.write_text("\n".join(toml_lines(costs_of([report(1.0, row=2.0)]))), encoding="utf-8")
    read = load_costs.__wrapped__()
    assert read.cells.keys() == {"eager prefill none", "sdpa prefill none"}
    assert read.rows["property:slow"] == pytest.approx(0.4)
    for broken in ("cells = [", "[moods]\nx = 1"):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(UsageError, match="python -m reports costs"):
            load_costs.__wrapped__()


@pytest.mark.parametrize(
    ("changes", "cell", "cost"),
    [
        ({}, "llama-float32-eager-prefill", 2.0),
        ({"architectures": {"llama": 3.0}}, "llama-float32-eager-prefill", 6.0),
        ({}, "llama-float32-eager-generate", 3.0),  # never seen: the mean of eager
        ({}, "llama-float32-flex_attention-prefill", 4.0),  # nor that: the mean of all
        ({"cells": {}}, "llama-float32-eager-prefill", 1.0),
        ({"cells": {"eager prefill none": 0.0}}, "llama-float32-eager-prefill", 0.001),  # but nothing is for nothing
    ],
)
def test_a_cell_that_was_never_measured_costs_what_its_like_do(changes: Any, cell: str, cost: float) -> None:
    known = {"cells": {"eager prefill none": 2.0, "eager beam none": 4.0, "sdpa prefill none": 6.0}} | changes
    assert Costs(**known).of_cell(parse_cell(cell)) == cost


def test_the_table_that_comes_with_the_suite_knows_most_of_what_plans_hold() -> None:
    table = load_costs()
    assert {"llama", "bert", "t5"} <= set(table.architectures)
    assert any(key.startswith("regression:") for key in table.rows)
