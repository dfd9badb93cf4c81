"""Plots of what claims were judged by: no name becomes markup, and no number breaks the drawing."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.rows import Family, RowOutcome
from reports import benchmarks
from reports.benchmarks import all_points, plots, rates
from reports.document import Point, RowRecord, make_report
from reports.html import render_html
from tests.builders import PROPERTY, ended, make_run

HOSTILE = '"></text></svg><script>alert(1)</script>'
NUMBERS = st.floats() | st.sampled_from([0.0, -1.0, 1e-320, 1e308, math.nan, math.inf, -math.inf])
SIZES = st.integers(-2, 10**30) | st.sampled_from([1, 2, 4, 512, 4096])
POINTS = st.builds(
    Point,
    subject=st.sampled_from(["Llama-7B", HOSTILE]),
    backend=st.sampled_from(["eager", "flash_attention_2", HOSTILE]),
    workload=st.sampled_from(["prefill", "generate", HOSTILE]),
    batch=SIZES,
    sequence=SIZES,
    padding=NUMBERS | st.sampled_from([0.0, 0.3, 0.6, 0.9]),
    seconds=st.lists(NUMBERS, max_size=3) | st.just([0.1]),
    tokens_per_second=st.none() | NUMBERS,
    peak_mib=st.none() | NUMBERS,
    failure=st.sampled_from(["", "out of memory", HOSTILE]),
)


def point(backend: str = "eager", **changes: Any) -> Point:
    given = {"subject": "Llama-7B", "sequence": 4096, "seconds": [0.1], "peak_mib": 100.0, **changes}
    return Point(backend=backend, **given)


def lengths(backend: str = "eager", **changes: Any) -> list[Point]:
    return [point(backend, sequence=length, seconds=[length / 1000], **changes) for length in (512, 1024, 2048)]


def claim(*points: Point, **changes: Any) -> RowRecord:
    given = {"name": "C1", "outcome": RowOutcome.HOLDS, **changes}
    return RowRecord(family=Family.CLAIM, points=list(points), **given)


def page(*rows: RowRecord) -> str:
    return render_html(make_report(make_run(), [], rows=list(rows), end=ended()))


def test_a_line_for_each_backend_and_a_panel_for_each_model() -> None:
    found = plots([*lengths(), *lengths("flash_attention_2"), *lengths(subject="Falcon-7B")])
    assert list(found) == ["Prefill time by sequence length", "Peak activation memory by sequence length"]
    time, _ = found["Prefill time by sequence length"]
    assert time.title == "Llama-7B, batch 1"
    assert [(line.backend, line.look, len(line.dots)) for line in time.lines] == [
        ("eager", 0, 3),
        ("flash_attention_2", 1, 3),
    ]
    assert [tick.text for tick in time.x_ticks] == ["512", "1024", "2048"]
    # On logarithmic axes each doubling is the same step, and more is higher up.
    (first, second, third) = time.lines[0].dots
    assert third[0] - second[0] == pytest.approx(second[0] - first[0], abs=0.2)
    assert first[1] > second[1] > third[1]
    assert time.table.rows[0] == ("512", "512 ms", "512 ms")


def test_batches_and_padding_have_panels_of_their_own_and_too_few_points_have_none() -> None:
    batches = [point(batch=batch) for batch in (1, 2, 4)]
    padding = [point(batch=4, padding=share, sequence=512) for share in (0.0, 0.3, 0.6)]
    assert list(plots([*batches, *padding])) == ["Prefill time by batch size", "Prefill time by share of padding"]
    assert plots(batches[:2]) == {}
    assert plots([]) == {}
    assert rates([]) == {}


def test_what_failed_is_in_the_table_and_not_in_the_drawing() -> None:
    points = [
        *lengths("sdpa"),
        *lengths()[:2],
        point(sequence=2048, seconds=[], peak_mib=None, failure="out of memory"),
    ]
    time = plots(points)["Prefill time by sequence length"][0]
    assert [len(line.dots) for line in time.lines] == [3, 2]
    assert time.table.rows[-1] == ("2048", "2.05 s", "out of memory")


def test_a_point_that_several_claims_share_is_drawn_once_and_a_measurement_outweighs_a_failure() -> None:
    measured, late = point(), point(seconds=[], failure="not measured: the time for this claim was spent")
    assert all_points([claim(late), claim(measured), claim(late, measured)]) == [measured]


def test_rates_are_bars_against_the_highest() -> None:
    points = [
        point(backend, workload="generate", padding=padding, tokens_per_second=rate)
        for backend, padding, rate in (("sdpa", 0.0, 200.0), ("sdpa", 0.5, 100.0), ("x", 0.0, math.nan))
    ]
    bars = rates(points)["Llama-7B"]
    assert [(bar.width, bar.text) for bar in bars] == [(150.0, "200 tokens/s"), (75.0, "100 tokens/s")]
    assert bars[1].label == "sdpa, batch 1, 50 % padding"


@PROPERTY
@given(st.lists(POINTS, max_size=12))
def test_no_number_leaves_the_drawing(points: list[Point]) -> None:
    kept = all_points([claim(*points)])
    for panels in plots(kept).values():
        for plot in panels:
            places = [dot for line in plot.lines for dot in line.dots]
            assert all(0 <= x <= benchmarks.WIDTH and 0 <= y <= benchmarks.HEIGHT for x, y in places)
            assert all(0 <= tick.at <= benchmarks.WIDTH for tick in (*plot.x_ticks, *plot.y_ticks))
            assert all(0 <= line.look < benchmarks.LOOKS for line in plot.lines)
            assert len(plot.y_ticks) <= 6
    for bars in rates(kept).values():
        assert all(0 <= bar.width <= 150 for bar in bars)


@pytest.mark.parametrize("numbers", [1.0, math.nan, math.inf, -1.0, 1e300])
def test_nothing_in_a_claim_becomes_markup(numbers: float) -> None:
    points = [
        point(HOSTILE, subject=HOSTILE, sequence=length, kernels=[HOSTILE], seconds=[0.1], peak_mib=5.0)
        for length in (512, 1024, 2048)
    ]
    points += [point(HOSTILE, subject=HOSTILE, sequence=64, seconds=[numbers], failure=HOSTILE)]
    points += [point(HOSTILE, subject=HOSTILE, workload="generate", tokens_per_second=5.0, padding=0.25)]
    said = {"name": HOSTILE, "about": HOSTILE, "reason": HOSTILE, "figures": {HOSTILE: numbers}}
    html = page(claim(*points, **said))
    assert "<script>alert" not in html
    assert "style=" not in html.partition("</style>")[2].partition("<script")[0]
    assert html.count("<polyline") >= 4
    assert html.count("&lt;script&gt;alert(1)") > 8


@pytest.mark.parametrize("outcome", RowOutcome)
def test_each_claim_is_answered_in_a_word_and_a_sentence(outcome: RowOutcome) -> None:
    html = page(claim(outcome=outcome, reason="It is 2.7 times as fast.\nsdpa is slower.", figures={"ratio": 2.71828}))
    assert 'href="#guide-claims"' in html
    assert f"</span>{outcome.of(Family.CLAIM)}</span>" in html
    assert "It is 2.7 times as fast." in html
    assert "<dt>ratio</dt><dd>2.718</dd>" in html


def test_without_claims_there_is_no_section() -> None:
    html = page()
    assert "guide-claims" not in html


def test_every_look_has_a_colour() -> None:
    style = page(claim()).partition("</style>")[0]
    assert all(re.search(rf"\.look-{look} {{ --look: ", style) for look in range(benchmarks.LOOKS))
