"""How the time of a run grows with the number of its cells, from runs whose times are known."""

import xml.etree.ElementTree as ElementTree
from itertools import product
from typing import Any

import pytest

from matrix.errors import UsageError
from reports.document import Process, Record, Report, make_report
from reports.growth import Growth, Size, growth_lines, growth_of, growth_svg
from tests.builders import make_run, make_stack, record_of

CELLS = [
    f"{architecture}-{dtype}-{attention}-prefill"
    for architecture, dtype, attention in product(
        ("llama", "gpt2", "falcon", "mistral"), ("float32", "float16", "bfloat16"), ("eager", "sdpa")
    )
]


def report(cells: int, *, start: float = 10.0, each: float = 0.5, **changes: Any) -> Report:
    """A run of one process whose first cell ends after so long, and each further one so much later."""
    records: list[Record] = []
    for number, cell in enumerate(CELLS[:cells]):
        records.append(record_of(cell, worker="gw0", began=start + (number - 1) * each, took=each))
    processes = [Process(worker="gw0", began=1.0)]
    return make_report(make_run(*CELLS[:cells], **changes), records, processes=processes)


def test_a_run_of_which_every_cell_takes_as_long_grows_linearly_however_long_its_start() -> None:
    growth = growth_of([report(24, start=30.0), report(6), report(12, start=3.0)])
    assert [(size.cells, size.processes, size.wall, size.first, size.rate) for size in growth.sizes] == [
        (6, 1, 12.5, 10.0, 2.0),
        (12, 1, 8.5, 3.0, 2.0),
        (24, 1, 41.5, 30.0, 2.0),
    ]
    assert [growth.linear(cells) for cells in (1, 6, 24)] == [30.0, 32.5, 41.5]


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_exponent_is_that_of_the_time_after_the_first_cell(power: float) -> None:
    sizes = tuple(Size(cells, 2, 7.0 + 0.01 * cells**power, 7.0) for cells in (250, 500, 1000, 8000))
    assert Growth("a run", sizes).exponent == pytest.approx(power)


def test_the_table_says_what_a_line_would_have_taken_and_what_it_comes_to() -> None:
    sizes = (Size(1000, 8, 110.0, 10.0), Size(2000, 8, 410.0, 12.0))
    lines = list(growth_lines(Growth("an H100", sizes)))
    assert lines[0] == "an H100"
    assert [line.split() for line in lines[2:4]] == [
        ["1,000", "8", "110.0", "210.9", "10.0", "9.99"],
        ["2,000", "8", "410.0", "410.0", "12.0", "5.02"],
    ]
    assert "to the power of 1.99; 1 is linear" in lines[-1]


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([], ["two runs"]),
        ([report(6)], ["two runs"]),
        ([report(6), report(6, start=1.0)], ["two runs"]),
        ([report(6), report(1)], ["1 cells"]),
        ([report(6), report(12, profile="zoo")], ["smoke", "zoo", "more than the number"]),
        ([report(6), report(12, stack=make_stack({"torch": "2.12.0"}))], ["2.12.0", "2.13.0"]),
        ([report(6).model_copy(update={"processes": []}), report(12)], ["does not say when"]),
    ],
    ids=["none", "one", "one size", "one cell", "plans", "stacks", "no times"],
)
def test_runs_that_cannot_be_held_against_each_other_are_refused(reports: list[Report], words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        growth_of(reports)
    assert all(word in str(raised.value) for word in words)


def parts(svg: str, name: str) -> list[ElementTree.Element]:
    return [part for part in ElementTree.fromstring(svg).iter() if part.tag.endswith(name)]


def test_the_picture_has_a_dot_for_each_run_in_each_panel_and_one_straight_line() -> None:
    svg = growth_svg(growth_of([report(6), report(12), report(24)]))
    assert len(parts(svg, "circle")) == 3 * 3
    lines = [line for line in parts(svg, "polyline") if line.get("class") == "guide"]
    assert len(lines) == 1
    # Where each cell takes as long, it leads from the first dot of the first panel to the last.
    ends = parts(svg, "circle")[:3:2]
    assert lines[0].get("points") == " ".join(f"{dot.get('cx')},{dot.get('cy')}" for dot in ends)


def test_axes_begin_at_zero_and_their_numbers_are_round() -> None:
    sizes = (Size(250, 8, 22.0, 9.0), Size(8000, 8, 430.0, 11.0))
    texts = [text.text for text in parts(growth_svg(Growth("a run", sizes)), "text")]
    seconds_in_all = ["0", "200", "400"]
    cells = ["0", "2,000", "4,000", "6,000", "8,000"]
    assert texts[: 2 + 3 + 5] == ["seconds in all", *seconds_in_all, *cells, "cells"]


def test_nothing_of_a_report_becomes_markup() -> None:
    hostile = "<script>&"
    svg = growth_svg(growth_of([report(6, profile=hostile), report(12, profile=hostile)]))
    assert hostile not in svg
    assert any(hostile in (text.text or "") for text in parts(svg, "text"))
