"""What caches, compilation and quantisation cost, of many cells together: only what lies beyond the noise is told."""

import math
from dataclasses import replace
from typing import Any

import pytest

from matrix.cell import parse_cell
from matrix.observation import Price, QuantisationCost, Side
from matrix.twin import twin_of
from matrix.verdict import Verdict
from reports.document import Record, make_report
from reports.html import render_html
from reports.prices import Line, lines, told
from tests.builders import completed, ended, make_run, record_of

STATIC = "llama-bfloat16-sdpa-left-static-generate"
OTHER = "gpt2-bfloat16-sdpa-left-static-generate"
COMPILED = "llama-bfloat16-sdpa-compiled-left-prefill"
QUANTISED = "bert-bfloat16-sdpa-nf4-prefill"
STEADY = (1.0, 1.01, 0.99, 1.0, 1.01, 0.99)


def price(cell: str, own: Side, usual: Side) -> Price:
    twin = twin_of(parse_cell(cell))
    assert twin is not None
    return Price(twin[0], twin[1].id, parse_cell(cell).workload.priced_by, own, usual)


def priced(cell: str, times: float = 1.0, noise: tuple[float, ...] = STEADY, **changes: Any) -> Record:
    """A right cell that takes so many times as long as its twin, of which each turn is as slow as the machine was."""
    own, usual = (tuple(factor * one for one in noise) for factor in (times, 1.0))
    own = (*(one * (1 + 0.001 * (-1) ** turn) for turn, one in enumerate(own)),)
    found = price(cell, Side(own), Side(usual))
    return record_of(cell, observation=completed(parse_cell(cell), price=found, **changes))


def only(records: list[Record], axis: str) -> Line:
    (line,) = lines(records, axis)
    return line


@pytest.mark.parametrize(("times", "word"), [(1.5, "more"), (0.5, "less"), (1.0, "within the noise")])
def test_one_cell_is_told_by_its_own_turns(times: float, word: str) -> None:
    line = only([priced(STATIC, times)], "cache")
    assert (line.value, line.cells) == ("static", 1)
    assert line.token is not None
    assert (line.token.times.ratio, line.token.word) == (pytest.approx(times, rel=1e-3), word)
    assert line.prompt is line.one_pass is line.memory is None


def test_a_slow_machine_is_no_difference_and_turns_that_scatter_tell_none() -> None:
    line = only([priced(STATIC, 1.2, noise=(1.0, 9.0, 1.0, 9.0, 3.0, 1.0))], "cache")
    assert line.token is not None
    assert line.token.times.ratio == pytest.approx(1.2, rel=1e-3)
    assert line.token.word == "more"
    scattered = price(STATIC, Side((1.0, 3.0, 1.0, 3.0)), Side((2.0, 1.0, 2.0, 1.0)))
    line = only([record_of(STATIC, observation=completed(parse_cell(STATIC), price=scattered))], "cache")
    assert line.token is not None
    assert line.token.word == "within the noise"


def test_several_cells_are_told_by_their_mean_and_what_they_differ_by() -> None:
    line = only([priced(STATIC, 1.5), priced(OTHER, 3.0)], "cache")
    assert line.token is not None
    assert (line.token.cells, line.token.word) == (2, "more")
    assert line.token.times.ratio == pytest.approx(math.sqrt(4.5), rel=1e-3)
    assert line.token.text == "2.12 × (2.12 to 2.13), cells from 1.5 to 3"


def test_one_cell_of_many_that_scatters_takes_the_sureness_from_all() -> None:
    scattered = price(OTHER, Side((1.0, 3.0, 1.0, 3.0)), Side((1.0,) * 4))
    cells = [priced(STATIC, 1.5), record_of(OTHER, observation=completed(parse_cell(OTHER), price=scattered))]
    line = only(cells, "cache")
    assert line.token is not None
    assert (line.token.cells, line.token.word) == (2, "within the noise")


def test_what_is_wrong_or_saves_over_what_is_wrong_has_no_price() -> None:
    right = priced(STATIC, 1.5)
    assert lines([right.model_copy(update={"verdict": Verdict.INACCURATE})], "cache") == []
    twin = record_of("llama-bfloat16-sdpa-left-generate", Verdict.INACCURATE)
    assert lines([right, twin], "cache") == []
    assert only([right, record_of(twin.cell)], "cache").token is not None


def test_a_compiled_model_is_priced_as_such_whatever_its_cache() -> None:
    both = priced("llama-bfloat16-sdpa-compiled-left-static-generate", 0.5)
    assert lines([both], "cache") == []
    line = only([both, priced(COMPILED, 0.25)], "transformation")
    assert (line.value, line.cells) == ("compiled", 2)
    assert line.token is not None
    assert line.one_pass is not None
    assert (line.token.cells, line.one_pass.cells) == (1, 1)
    assert line.one_pass.times.ratio == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize(
    ("graphs", "told_"), [({"runs": 3, "compiled": 2}, True), ({"runs": 3, "cached": 1}, False), ({}, False)]
)
def test_seconds_of_compilation_are_of_graphs_that_were_compiled_here(graphs: dict[str, int], told_: bool) -> None:
    seen = completed(parse_cell(COMPILED), seconds={"compile": 9.0})
    seen = replace(seen, evidence=replace(seen.evidence, graphs=graphs))
    found = lines([record_of(COMPILED, observation=seen)], "transformation")
    assert [line.compiling.text if line.compiling else None for line in found] == (["9"] if told_ else [])


def quantised() -> list[Record]:
    cell, plain = parse_cell(QUANTISED), parse_cell("bert-bfloat16-sdpa-prefill")
    own = Side(STEADY, weight_bytes=1 << 20, disk_bytes=2 << 20)
    usual = Side(STEADY, weight_bytes=4 << 20, disk_bytes=4 << 20)
    seen, usual_seen = completed(cell), completed(plain)
    seen = replace(
        seen,
        price=price(QUANTISED, own, usual),
        quantisation_cost=QuantisationCost(0.14, 0.2, 0.9),
        evidence=replace(seen.evidence, weight_bytes=1 << 20),
    )
    usual_seen = replace(usual_seen, evidence=replace(usual_seen.evidence, weight_bytes=4 << 20))
    return [record_of(cell.id, observation=seen), record_of(plain.id, observation=usual_seen)]


@pytest.mark.parametrize("measured", [1, 2])  # whether the unquantised cell was measured by itself
def test_of_a_format_size_loss_and_time_stand_together(measured: int) -> None:
    line = only(quantised()[:measured], "quantisation")
    assert (line.value, line.weights and line.weights.middle, line.disk and line.disk.middle) == ("nf4", 0.25, 0.5)
    assert line.loss is not None
    assert line.loss.text == "0.14"
    assert line.one_pass is not None
    assert line.one_pass.word == "within the noise"


def test_memory_of_one_cell_is_measured_once() -> None:
    found = price(STATIC, Side(STEADY, peak_mib=30.0), Side(STEADY, peak_mib=20.0))
    line = only([record_of(STATIC, observation=completed(parse_cell(STATIC), price=found))], "cache")
    assert line.memory is not None
    assert (line.memory.text, line.memory.word) == ("1.5 ×", "")


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, 0.0, 1e300, 1e-300])
def test_times_that_nothing_can_take_are_no_measurement(odd: float) -> None:
    sides = [Side((odd,) * 3, (odd,), peak_mib=odd, weight_bytes=-1, disk_bytes=0), Side((1.0,) * 3, (1.0,), 1.0)]
    for own, usual in (sides, sides[::-1]):
        strange = completed(parse_cell(STATIC), price=price(STATIC, own, usual))
        assert lines([record_of(STATIC, observation=strange)], "cache") == []
        assert list(told(price(QUANTISED, own, usual))) == []


def page_of(*records: Record) -> str:
    return render_html(make_report(make_run(*(record.cell for record in records)), list(records), end=ended()))


def test_the_page_shows_it_where_something_was_timed() -> None:
    page = page_of(priced(STATIC, 1.5))
    assert "What caches and compilation cost" in page
    assert "1.5 × (1.5 to 1.5)" in page
    assert "What caches and compilation cost" not in page_of(record_of(STATIC))
    assert "Size, cost and speed by quantisation" not in page


def test_the_page_tells_of_each_format_that_was_tried_and_of_no_other() -> None:
    page = page_of(*quantised())
    assert "Size, cost and speed by quantisation" in page
    assert '<th scope="col">nf4</th>' in page
    assert '<th scope="col">int8</th>' not in page


def test_a_cell_says_what_it_costs_in_words() -> None:
    own = Side((0.003,) * 2, (0.01,) * 2, 30.0, 1 << 20, 2 << 20)
    usual = Side((0.002,) * 2, (0.02,) * 2, 20.0, 4 << 20, 4 << 20)
    assert list(told(price(QUANTISED, own, usual))) == [
        "time of a forward pass: 1.5 × (1.5 to 1.5), 3 ms against 2 ms",
        "time of the prompt: 0.5 × (0.5 to 0.5), 10 ms against 20 ms",
        "memory of the GPU, the model and the most beside it: 1.5 ×, 30 MiB against 20 MiB",
        "weights: 0.25 ×, 1 MiB against 4 MiB",
        "files of the weights: 0.5 ×, 2 MiB against 4 MiB",
    ]
    assert not any("weights" in said for said in told(price(STATIC, own, usual)))
