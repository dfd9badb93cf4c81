"""Histograms of error over bound: every ratio is in exactly one bin, and no judged cell is lost."""

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.verdict import Verdict
from reports import charts
from reports.charts import BINS, Histogram, Series, bin_of, closeness, histogram, panels, ratio_text, strip
from reports.document import Bound, Record, Waived
from tests.builders import PROPERTY, record_of

RATIOS = st.lists(st.floats(min_value=0) | st.just(math.nan) | st.sampled_from([0.0, 0.05, 0.95, 1.0, math.inf]))
WAIVED = Waived(reason="known", url="https://example.org/1")


def judged(cell: str, waived: bool = False, **ratios: float) -> Record:
    bounds = [Bound(name=f"logits {rule}", value=ratio, allowed=1.0, ratio=ratio) for rule, ratio in ratios.items()]
    return record_of(cell, Verdict.SUPPORTED, bounds=bounds, waived=WAIVED if waived else None)


@PROPERTY
@given(RATIOS)
def test_every_ratio_lands_in_exactly_one_bin(ratios: list[float]) -> None:
    drawn = histogram(ratios)
    assert len(drawn.within) == BINS
    assert sum(drawn.within) + drawn.beyond == len(ratios)
    assert drawn.beyond == sum(not ratio <= 1 for ratio in ratios)


@PROPERTY
@given(st.floats(min_value=0, max_value=1))
def test_a_bin_holds_what_lies_between_its_edges(ratio: float) -> None:
    place = bin_of(ratio)
    assert place is not None
    # As exact as a float's product with the number of bins.
    assert place / BINS <= ratio + 1e-12
    assert ratio - 1e-12 <= (place + 1) / BINS


@pytest.mark.parametrize(
    ("ratio", "place"),
    [(0.0, 0), (0.049, 0), (0.05, 1), (0.999, BINS - 1), (1.0, BINS - 1), (1.0000001, None), (math.inf, None)],
)
def test_the_bound_may_be_met_but_not_exceeded(ratio: float, place: int | None) -> None:
    assert bin_of(ratio) == place
    assert bin_of(math.nan) is None


@PROPERTY
@given(st.lists(st.integers(0, 10_000), min_size=BINS, max_size=BINS), st.integers(0, 10_000))
def test_each_bin_with_a_cell_has_a_bar_inside_the_strip_and_an_empty_one_has_none(
    within: list[int], beyond: int
) -> None:
    svg = strip(Histogram(tuple(within), beyond))
    bars = [
        tuple(map(int, bar))
        for bar in re.findall(
            r'<rect class="(?:within|beyond)" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"></rect>', svg
        )
    ]
    width, height = map(int, re.findall(r'<svg class="strip" width="(\d+)" height="(\d+)"', svg)[0])
    assert svg.count('class="within"') == sum(count > 0 for count in within)
    assert svg.count('class="beyond"') == (beyond > 0)
    assert len(bars) == sum(count > 0 for count in [*within, beyond])
    assert all(y >= 0 and tall >= 1 and y + tall <= height and x + wide <= width for x, y, wide, tall in bars)
    assert all(x + wide <= following for (x, _, wide, _), (following, *_) in pairwise(bars))
    assert "style=" not in svg


def test_bars_are_as_high_as_they_count_and_what_is_beyond_stands_behind_the_line() -> None:
    svg = strip(histogram([0.5, 0.5, 0.01, 7.0]))
    half, low = (re.search(rf'x="{x}" y="\d+" width="4" height="(\d+)"', svg) for x in (BINS // 2 * 5, 0))
    assert half is not None
    assert low is not None
    assert int(half[1]) == 2 * int(low[1])
    line = re.search(r'class="edge" x="(\d+)"', svg)
    beyond = re.search(r'class="beyond" x="(\d+)"', svg)
    assert line is not None
    assert beyond is not None
    assert int(beyond[1]) > int(line[1]) >= BINS * 5


def test_a_panel_for_each_backend_a_series_for_each_rule_and_dtype() -> None:
    records = [
        judged("llama-bfloat16-sdpa-prefill", max=0.5, mean=0.25),
        judged("llama-float32-sdpa-prefill", max=0.75, mean=0.5),
        judged("gpt2-float32-sdpa-prefill", max=0.25, mean=1.5),
        judged("llama-float32-eager-generate", max=0.5, mean=0.5, regret=0.125),
        record_of("opt-float32-sdpa-flash-prefill", Verdict.REFUSED, bounds=[]),
    ]
    found = panels(records, ["eager", "sdpa", "sdpa (flash)"])
    assert [panel.backend for panel in found] == ["eager", "sdpa"]
    assert list(found[0].rules) == ["max", "mean", "regret"]
    assert found[1].rules == {
        "max": [Series("float32", (0.25, 0.75), 0), Series("bfloat16", (0.5,), 0)],
        "mean": [Series("float32", (0.5, 1.5), 0), Series("bfloat16", (0.25,), 0)],
    }
    assert found[1].rules["mean"][0].histogram.beyond == 1


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from(["eager", "sdpa", "sdpa-flash"]), st.floats(0, 3), st.booleans())))
def test_panels_lose_no_judged_cell_and_count_the_known_ones(
    cells: list[tuple[str, float, bool]],
) -> None:
    records = [judged(f"llama-float16-{name}-prefill", waived, mean=ratio) for name, ratio, waived in cells]
    found = panels(records, ["eager", "sdpa", "sdpa (flash)"])
    series = [one for panel in found for rule in panel.rules.values() for one in rule]
    assert sum(len(one.ratios) for one in series) == len(cells)
    assert sum(sum(one.histogram.within) + one.histogram.beyond for one in series) == len(cells)
    assert sum(one.known for one in series) == sum(ratio > 1 and waived for _, ratio, waived in cells)


def test_a_cell_counts_with_the_worst_of_its_comparisons_and_nan_is_the_worst() -> None:
    bounds = [Bound(name=f"{name} mean", value=1, allowed=1, ratio=ratio) for name, ratio in [("a", 0.25), ("b", 0.75)]]
    record = record_of("llama-float32-sdpa-prefill", bounds=bounds)
    assert charts.worst_by_rule(record) == {"mean": 0.75}
    record.bounds.insert(1, Bound(name="c mean", value=1, allowed=1, ratio=math.nan))
    assert math.isnan(charts.worst_by_rule(record)["mean"])


def test_relations_stand_apart() -> None:
    cells = ["llama-float32-sdpa-prefill", "llama-float32-sdpa-generate", "llama-float32-sdpa-causality"]
    records = [record_of(cell) for cell in cells]
    assert [charts.is_relation(record) for record in records] == [False, False, True]
    assert [charts.is_direct(record) for record in records] == [True, True, False]


def test_quantiles_are_ratios_that_were_measured() -> None:
    series = Series("float32", tuple(number / 100 for number in range(1, 101)), 0)
    assert (series.quantile(0.5), series.quantile(0.99), series.quantile(1.0)) == (0.5, 0.99, 1.0)
    assert Series("float32", (0.25,), 0).quantile(0.5) == 0.25


def test_the_sentence_counts_cells_by_the_bound_that_they_come_closest_to() -> None:
    found = closeness(
        [
            judged("llama-float32-sdpa-prefill", max=0.25, mean=0.5),
            judged("gpt2-float32-sdpa-prefill", max=0.75, mean=0.5),
            judged("opt-float32-sdpa-prefill", True, max=0.25, mean=5.0),
            judged("t5-float32-sdpa-prefill", max=math.nan, mean=0.5),
            record_of("bert-float32-sdpa-prefill", Verdict.REFUSED, bounds=[]),
        ]
    )
    assert found is not None
    assert (found.judged, found.beyond, found.known) == (4, 2, 1)
    assert (found.median, found.almost_all) == (0.5, 0.75)
    assert closeness([]) is None


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0, "0.00"), (0.714, "0.71"), (1.0, "1.00"), (212255.8, "212,256"), (math.inf, "inf"), (math.nan, "nan")],
)
def test_ratios_have_the_digits_that_a_reader_can_use(ratio: float, text: str) -> None:
    assert ratio_text(ratio) == text
