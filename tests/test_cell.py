"""Ids of cells: readable, unique, and read back to the cell that they name."""

from collections import Counter

import pytest
from hypothesis import given

from matrix.axes import AXES, Attention, Dtype
from matrix.cell import Cell, parse_cell
from matrix.errors import UsageError
from tests.builders import PROPERTY, cells

SILENT = {"unpinned", "none"}


def test_no_token_of_an_id_belongs_to_two_axes() -> None:
    """A new value spelled like one of another axis would make ids ambiguous."""
    tokens = Counter(value.value for values in AXES.values() for value in values if value.value not in SILENT)
    assert [token for token, count in tokens.items() if count > 1] == []


def test_every_axis_but_three_has_one_silent_value() -> None:
    """Two silent values on an axis would give two cells one id; none leaves the axis to be spelled out."""
    silent = {axis: [value.value for value in values if value.value in SILENT] for axis, values in AXES.items()}
    assert {axis: len(values) for axis, values in silent.items()} == {
        "dtype": 0,
        "attention": 0,
        "sdpa_kernel": 1,
        "quantisation": 1,
        "transformation": 1,
        "device_map": 1,
        "padding": 1,
        "workload": 0,
    }


def test_axes_are_the_fields_of_a_cell_in_order() -> None:
    """The order of an id and of a cell are one: an axis that is added must be added to both."""
    cell = parse_cell("llama-bfloat16-sdpa-flash-nf4-better_transformer-auto-left-generate")
    assert [axis for axis, _ in cell.axis_values()] == ["architecture", *AXES]
    assert [value for _, value in cell.axis_values()] == cell.id.split("-")


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
