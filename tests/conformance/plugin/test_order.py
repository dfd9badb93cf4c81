"""Workers begin with what takes long, and a report is in the order of the plan all the same."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.plugin import order
from matrix.cell import parse_cell
from tests.builders import PROPERTY
from tests.sessions import run_pytest

QUICK, COMPILED = "gpt2-float32-eager-prefill", "gpt2-float32-flex_attention-prefill"


class Item(SimpleNamespace):
    """A cell's test, as far as its place follows from it."""


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "CellItem", Item)


def arranged(items: list[Any], workers: int, refused: str = "") -> list[Any]:
    """As if the cells of those names were refused."""
    cells = {id(item.cell) for item in items if isinstance(item, Item) and item.name in refused}
    return order.arranged(items, workers, lambda cell: id(cell) not in cells)


def cell(name: str, compiled: bool) -> Any:
    return Item(name=name, cell=parse_cell(COMPILED if compiled else QUICK))


def row(name: str) -> Any:
    return SimpleNamespace(name=name, nodeid=f"conformance/test_regressions.py::test_regression[{name}]")


def costing(monkeypatch: pytest.MonkeyPatch, of_cell: Callable[[Any], float], **of_row: float) -> None:
    """Let cells and rows cost that; a row that is not named costs little."""
    told = SimpleNamespace(of_cell=of_cell, of_row=lambda key: of_row.get(key.partition(":")[2], 0.5))
    monkeypatch.setattr(order, "load_costs", lambda: told)


def names(items: list[Any]) -> str:
    return "".join(item.name for item in items)


def test_each_worker_begins_with_its_part_of_what_compiles_then_rows() -> None:
    cells = [cell(name, compiled=name.isupper()) for name in "abCdEfgHij"]
    rows = [row(name) for name in "012"]
    assert names(arranged([*cells, *rows], 1)) == "CEH012abdfgij"
    assert names(arranged([*cells, *rows], 2)) == "CH0abd" + "E12fgij"
    assert names(arranged([*rows, *cells], 2)) == "CH0abd" + "E12fgij"


def test_what_is_refused_compiles_nothing_and_stays_where_it_is() -> None:
    cells = [cell(name, compiled=name.isupper()) for name in "abCdEfgHij"]
    assert names(arranged(cells, 2, refused="CH")) == "EabCd" + "fgHij"


def test_a_model_that_is_compiled_whole_begins_as_early() -> None:
    cells = [cell(name, compiled=False) for name in "abc"]
    cells[1] = Item(name="b", cell=parse_cell("gpt2-float32-eager-compiled-prefill"))
    assert names(arranged(cells, 1)) == "bac"


def test_what_compiles_longest_begins_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell(name, compiled=True) for name in "ABCDEF"]
    cost = {id(item.cell): float(" ADBFCE".index(item.name)) for item in cells}
    costing(monkeypatch, lambda cell: cost[id(cell)])
    assert names(arranged(cells, 2)) == "EBD" + "CFA"


def test_nothing_that_compiles_waits_behind_what_takes_longer_than_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell(name, compiled=name.isupper()) for name in "ABCDefgh"]
    longest = cells[0].cell
    costing(monkeypatch, lambda cell: 10.0 if cell is longest else 1.0)
    assert names(arranged(cells, 2)) == "Aefg" + "BCDh"
    assert names(arranged(cells[:4], 2)) == "AD" + "BC"  # a block has only so much room


def test_a_row_that_takes_long_begins_among_what_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell(name, compiled=name.isupper()) for name in "ABcdef"]
    rows = [row(name) for name in "012345"]
    costing(monkeypatch, lambda cell: 9.0, **{"4": 20.0, "5": 5.0})
    assert names(arranged([*cells, *rows], 2)) == "401cde" + "AB523f"


@PROPERTY
@given(compiled=st.lists(st.booleans(), max_size=40), rows=st.integers(0, 20), workers=st.integers(1, 9))
def test_nothing_is_lost_and_rows_stay_in_their_order(compiled: list[bool], rows: int, workers: int) -> None:
    items = [*(cell(str(place), one) for place, one in enumerate(compiled))]
    others = [row(f"r{place}") for place in range(rows)]
    found = arranged([*items, *others], workers)
    assert sorted(map(id, found)) == sorted(map(id, [*items, *others]))
    assert [item for item in found if not isinstance(item, Item)] == others


def test_the_report_is_in_the_order_of_the_plan(tmp_path: Path) -> None:
    cells = ["llama-float32-eager-prefill", COMPILED, QUICK, "bert-float32-flex_attention-prefill"]
    session = run_pytest(tmp_path / "out", *(f"--cell={one}" for one in cells), "-n", "2")
    assert [record.cell for record in session.report.records] == cells
    assert session.report.run.planned == cells
