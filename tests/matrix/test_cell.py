"""Ids of cells: readable, unique, and read back to the cell that they name."""

from collections import Counter

import pytest
from hypothesis import given

from matrix.axes import Attention, Dtype
from matrix.cell import AXES, SILENT, Cell, parse_cell
from matrix.errors import UsageError
from tests.builders import PROPERTY, cells


def test_no_token_of_an_id_belongs_to_two_axes() -> None:
    """A new value spelled like one of another axis would make ids ambiguous."""
    tokens = Counter(name for axis in AXES.values() for name in axis.values if name != axis.silent)
    assert [token for token, count in tokens.items() if count > 1] == []
    assert set(tokens) & set(SILENT.values()) == set()


def test_every_axis_but_three_has_a_silent_value() -> None:
    """None leaves the axis to be spelled out in every id."""
    assert SILENT == {
        "sdpa_kernel": "unpinned",
        "quantisation": "none",
        "transformation": "none",
        "device_map": "none",
        "padding": "none",
        "cache": "dynamic",
    }
    assert set(AXES) - set(SILENT) == {"dtype", "attention", "workload"}


def test_axes_are_the_fields_of_a_cell_in_order() -> None:
    """The order of an id and of a cell are one."""
    cell = parse_cell("llama-bfloat16-sdpa-flash-nf4-better_transformer-auto-left-generate")
    assert [axis for axis, _ in cell.axis_values()] == ["architecture", *AXES]
    assert [value for axis, value in cell.axis_values() if value != SILENT.get(axis)] == cell.id.split("-")


@PROPERTY
@given(cells())
def test_an_id_reads_back_to_its_cell(cell: Cell) -> None:
    assert parse_cell(cell.id) == cell


@PROPERTY
@given(cells())
def test_an_id_can_stand_in_a_shell_a_path_and_a_node_id(cell: Cell) -> None:
    assert set(cell.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize(
    ("cell_id", "words"),
    [
        pytest.param("llama-float64-eager-prefill", ["'float64'", "bfloat16", "nf4"], id="unknown part"),
        pytest.param("llama-float32-eager-none-prefill", ["'none'", "nf4"], id="silent value spelled out"),
        pytest.param("llama-eager-float32-prefill", ["'float32'", "out of order", "workload"], id="out of order"),
        pytest.param("llama-float32-float32-eager-prefill", ["'float32'", "repeated"], id="repeated"),
        pytest.param("llama-float32-float16-eager-prefill", ["'float16'", "repeated"], id="two values of an axis"),
        pytest.param("llama-eager-prefill", ["no value for dtype"], id="no dtype"),
        pytest.param("llama-float32-prefill", ["no value for attention"], id="no attention"),
        pytest.param("llama-float32-eager", ["no value for workload"], id="no workload"),
        pytest.param("llama", ["no value for dtype, attention, workload"], id="nothing but an architecture"),
        pytest.param("Llama-float32-eager-prefill", ["'Llama'", "architecture"], id="capital letter"),
        pytest.param("llaMa-float32-eager-prefill", ["'llaMa'", "architecture"], id="capital letter within"),
        pytest.param("../x-float32-eager-prefill", ["'../x'", "architecture"], id="path"),
        pytest.param("", ["''", "architecture"], id="empty"),
        pytest.param("llama-float32--eager-prefill", ["unknown part ''"], id="two dashes"),
        pytest.param("llama float32 eager prefill", ["'llama float32 eager prefill'"], id="spaces"),
    ],
)
def test_a_bad_id_is_refused_by_name(cell_id: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_cell(cell_id)
    message = str(caught.value)
    assert repr(cell_id) in message
    assert [word for word in words if word not in message] == []


def test_an_architecture_named_none_keeps_its_name() -> None:
    cell = Cell("none", Dtype.FLOAT32, Attention.EAGER)
    assert parse_cell(cell.id) == cell
