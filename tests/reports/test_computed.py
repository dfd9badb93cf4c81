"""What the kernels compute: readings of cells taken together, and those that stand apart."""

import math
from dataclasses import replace

import pytest

from matrix.cell import parse_cell
from matrix.dials import Reading
from reports.computed import Pooled, number_text, outliers, pooled, rows, whisker
from reports.dials import SURE
from reports.document import Record, make_report
from reports.html import render_html
from tests.builders import completed, ended, make_run, record_of


def reading(value: float, bar: float = 0.1, dial: str = "scale") -> Reading:
    return Reading(dial, "%", value, bar, 0.5)


def cell(cell_id: str, *readings: Reading) -> Record:
    seen = completed(parse_cell(cell_id))
    (compared, *rest) = seen.comparisons
    return record_of(cell_id, observation=replace(seen, comparisons=(replace(compared, readings=readings), *rest)))


def test_readings_that_agree_are_surer_together() -> None:
    together = pooled([(0.1, 0.2), (0.1, 0.2), (0.1, 0.2), (0.1, 0.2)])
    assert (together.value, together.bar, together.readings) == (pytest.approx(0.1), pytest.approx(0.1), 4)


def test_the_surer_one_counts_for_more() -> None:
    assert pooled([(1.0, 1.0), (0.0, 0.5)]).value == pytest.approx(0.2)


def test_readings_that_scatter_beyond_their_bars_make_a_wider_one() -> None:
    # chi-squared is 2 * (1 / 0.1)^2 of one degree of freedom; the bar without it 0.1 / sqrt(2)
    assert pooled([(1.0, 0.1), (-1.0, 0.1)]).bar == pytest.approx(math.sqrt(200) * 0.1 / math.sqrt(2))


def test_what_is_off_stands_apart_and_moves_no_mean() -> None:
    records = [
        cell("llama-float16-sdpa-prefill", reading(0.05)),
        cell("gpt2-float16-sdpa-prefill", reading(5.0)),
        cell("llama-float16-sdpa-flash-prefill", reading(-0.05), reading(0.3, dial="values")),
    ]
    scale, values = rows(records, ["sdpa", "sdpa (flash)"])
    assert (scale.dial, scale.dtype, scale.unit) == ("softmax scale", "float16", "%")
    found = {name: round(one.value, 6) for name, one in scale.by_backend.items()}
    assert found == {"sdpa": 0.05, "sdpa (flash)": -0.05}
    assert list(values.by_backend) == ["sdpa (flash)"]
    assert scale.extent == pytest.approx(0.05 + SURE * 0.1)
    assert [(one.cell, one.said) for one in outliers(records)] == [
        ("gpt2-float16-sdpa-prefill", "softmax scale +5.00 ± 0.10 %")
    ]


def test_of_a_cell_that_is_out_of_bounds_a_reading_only_says_why() -> None:
    record = cell("llama-float16-sdpa-prefill", reading(0.05), reading(5.0, dial="values"))
    (compared,) = record.observation.comparisons
    far = replace(compared, candidate_max=1e9, candidate_mean=1e9)
    wrong = record.model_copy(update={"observation": replace(record.observation, comparisons=(far,))})
    assert rows([wrong], ["sdpa"]) == []
    assert [one.cell for one in outliers([wrong])] == [record.cell]


def test_the_same_reading_under_another_device_map_is_no_second_witness() -> None:
    twice = [cell(f"llama-float16-sdpa-{more}prefill", reading(0.05)) for more in ("", "auto-")]
    (row,) = rows(twice, ["sdpa"])
    assert row.by_backend["sdpa"].readings == 1


@pytest.mark.parametrize(
    "nothing",
    [reading(0.0, 0.0), reading(math.nan), reading(0.1, math.inf), reading(0.1, 1e-200), reading(0.1, dial="<b>")],
)
def test_what_is_no_reading_is_none(nothing: Reading) -> None:
    records = [cell("llama-float16-sdpa-prefill", nothing)]
    assert not rows(records, ["sdpa"])
    assert not outliers(records)


def test_a_whisker_reaches_from_end_to_end_of_the_largest_bar() -> None:
    assert 'x="0.0" y="5.0" width="80.0"' in whisker(Pooled(0.0, 1.0, 1), SURE)
    assert 'x="60.0"' in whisker(Pooled(0.75 * SURE, 0.25, 1), SURE)
    assert number_text(Pooled(0.01234, 0.01, 3)) == "+0.012 ± 0.020"


def page_of(record: Record) -> str:
    return render_html(make_report(make_run(record.cell), [record], end=ended()))


def test_the_page_shows_it_where_something_was_read() -> None:
    page = page_of(cell("llama-float16-sdpa-prefill", reading(0.05)))
    assert "What the kernels compute" in page
    assert "+0.05 ± 0.20" in page
    assert "What the kernels compute" not in page_of(record_of("llama-float16-sdpa-prefill"))
