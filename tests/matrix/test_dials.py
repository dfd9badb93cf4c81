"""What readings of dials mean: which are off, and how they are told."""

import subprocess
import sys
from dataclasses import replace

import pytest

from matrix.architectures import load_architectures
from matrix.cell import parse_cell
from matrix.dialled import another_batch, dials_add_up, dials_judge, has_dials
from matrix.dials import BATCHES, KNOBS, Reading, added_up, batches_asked, cause, explanation, moved, off, percent
from matrix.stack import Device
from matrix.transformations import TRANSFORMATIONS


def reading(
    dial: str = "scale", value: float = 0.0, bar: float = 0.01, explains: float = 0.0, **more: object
) -> Reading:
    return Reading(dial, KNOBS[dial].unit if dial in KNOBS else "%", value, bar, explains, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "bar", "is_off"),
    [
        (0.061, 0.01, True),  # further than six bars
        (-0.061, 0.01, True),
        (0.059, 0.01, False),
        (0.009, 0.0001, False),  # significant, and smaller than anybody would notice
        (0.011, 0.0001, True),
        (0.0, 0.0, False),
        (float("nan"), 0.01, False),
    ],
)
def test_a_dial_is_off_beyond_six_bars_and_beyond_its_material_size(value: float, bar: float, is_off: bool) -> None:
    assert reading(value=value, bar=bar, explains=0.1).is_off is is_off


@pytest.mark.parametrize(("explains", "is_off"), [(0.0001, False), (0.005, True)])
def test_what_explains_next_to_nothing_of_the_error_is_rounding_that_all_positions_share(
    explains: float, is_off: bool
) -> None:
    assert reading(value=0.171, bar=0.028, explains=explains).is_off is is_off


@pytest.mark.parametrize(
    ("value", "explains", "is_off"), [(0.051, 0.002, True), (0.049, 0.002, False), (0.051, 0.0009, False)]
)
def test_of_batches_that_add_up_less_is_enough(value: float, explains: float, is_off: bool) -> None:
    assert reading(value=value, bar=0.01, explains=explains, batches=4).is_off is is_off
    assert not reading(value=value, bar=0.01, explains=explains).is_off


def test_readings_of_batches_are_a_mean_with_the_bar_of_a_mean() -> None:
    (one,) = added_up([[reading(value=0.3, bar=0.03, explains=0.2)], [reading(value=0.1, bar=0.04, explains=0.1)]])
    assert (one.value, one.bar, one.explains) == pytest.approx((0.2, 0.025, 0.15))
    assert one.batches == 2
    assert one.said.endswith("± 0.025 % in 2 batches")


def test_what_was_not_read_of_every_batch_stays_as_the_first_says() -> None:
    both = reading("values", value=0.5, also=("head_gain",))
    first, scale = reading("values", value=0.5), reading()
    assert added_up([[scale, first], [scale, both]])[1] == first
    assert added_up([[scale, first], []]) == (scale, first)
    assert added_up([[]]) == ()


def test_what_is_off_beyond_doubt_in_the_first_batch_is_not_averaged_away() -> None:
    clear, doubtful = (reading(value=value, bar=0.01, explains=0.1) for value in (0.15, 0.07))
    others = [[reading()]] * (BATCHES - 1)
    assert added_up([[clear], *others]) == (clear,)
    assert not added_up([[doubtful], *others])[0].is_off


@pytest.mark.parametrize(
    ("value", "bar", "batches", "dtype", "asked"),
    [
        (0.0, 0.005, 1, "float16", 1),  # as fine as is asked for
        (0.0, 0.012, 1, "float16", 6),
        (0.0, 0.0049, 6, "float16", 6),
        (0.0, 0.012, 1, "bfloat16", 1),
        (0.0, 0.012, 1, "float32", 1),
        (0.0, 1.0, 1, "float16", BATCHES),
        (0.0, float("nan"), 1, "float16", 1),
        (0.03, 0.01, 1, "bfloat16", BATCHES),  # doubtful
        (0.13, 0.01, 1, "bfloat16", 1),  # off beyond doubt
        (0.009, 0.001, 1, "bfloat16", 1),  # smaller than anybody would notice
    ],
)
def test_as_many_batches_are_asked_as_it_takes(value: float, bar: float, batches: int, dtype: str, asked: int) -> None:
    assert batches_asked([reading("values"), reading(value=value, bar=bar, batches=batches)], dtype) == asked


def test_a_dial_of_another_release_fails_nothing() -> None:
    assert not reading("yet_unknown", value=100.0).is_off


@pytest.mark.parametrize(
    ("value", "bar", "said"),
    [
        (5.0, 0.031, "softmax scale +5.000 ± 0.031 %"),
        (-0.2, 1.0, "softmax scale -0.2 ± 1.0 %"),
        (300.4, 12.0, "softmax scale +300 ± 12 %"),
        (0.0, 0.0, "softmax scale +0.00 ± 0.00 %"),
    ],
)
def test_a_reading_is_told_with_two_digits_of_its_bar(value: float, bar: float, said: str) -> None:
    assert reading(value=value, bar=bar).said == said


def test_what_cannot_be_told_apart_is_named_together() -> None:
    assert reading("values", 1.0, also=("head_gain",)).said.startswith("output of every head or output of head 0 ")


def test_the_dial_that_explains_most_is_named_first_and_is_the_cause_only_if_it_explains_half() -> None:
    most, some = reading("scale", 5.0, explains=0.9), reading("values", 1.0, explains=0.2)
    assert off([some, reading("rotation"), most]) == (most, some)
    assert cause([some, most]) == most
    assert cause([some]) is None
    assert explanation([most]) == ("softmax scale +5.000 ± 0.010 %: explains 90 % of the error",)


def test_that_no_dial_explains_an_error_is_said_where_they_were_read() -> None:
    some = reading("values", 1.0, explains=0.2)
    assert explanation([some, reading()]) == (
        "output of every head +1.000 ± 0.010 %: explains 20 % of the error",
        "no dial explains more than half of the error",
    )
    assert explanation([reading()]) == ("no dial explains the error",)
    assert explanation([]) == ()


@pytest.mark.parametrize(("share", "said"), [(0.996, "100 %"), (0.01, "1 %"), (0.0052, "0.5 %"), (0.0, "0.0 %")])
def test_a_share_is_told_in_percent_and_a_small_one_is_not_nothing(share: float, said: str) -> None:
    assert percent(share) == said


@pytest.mark.parametrize(
    ("before", "after", "has_moved"),
    [
        (reading(value=0.0), reading(value=0.09, explains=0.1), True),  # six bars of both are 0.085
        (reading(value=0.09, explains=0.1), reading(value=0.0), True),  # back to where it should be, too
        (reading(value=0.0), reading(value=0.08, explains=0.1), False),
        (reading(value=0.0, bar=0.0001), reading(value=0.009, bar=0.0001, explains=0.1), False),  # nobody would notice
        (reading(value=0.0, bar=0.0), reading(value=0.02, bar=0.0, explains=0.1), True),
        (reading(value=0.0), reading(value=0.5, explains=0.001), False),  # rounding that all positions share
        (reading(value=0.0), reading(value=float("nan"), explains=0.1), False),
        (reading(value=0.0), reading(value=float("inf"), explains=0.1), False),
        (reading("yet_unknown"), reading("yet_unknown", value=9.0, explains=0.9), False),
    ],
)
def test_a_dial_has_moved_by_what_would_make_it_off(before: Reading, after: Reading, has_moved: bool) -> None:
    assert moved(before, after) is has_moved


def test_of_batches_that_add_up_a_dial_has_moved_by_what_makes_it_off_in_them() -> None:
    before, after = (reading(value=value, bar=0.01, explains=0.002, batches=8) for value in (0.0, 0.075))
    assert moved(before, after)
    assert not moved(before, replace(after, batches=1))


def test_nothing_here_imports_torch() -> None:
    code = "import sys, matrix.dials, reports.dials; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(("device", "read"), [(Device.CPU, True), (Device.CUDA, False)])
def test_no_dial_is_read_of_what_stays_on_the_cpu_beside_a_baseline_on_the_gpu(device: Device, read: bool) -> None:
    llama = load_architectures()["llama"]
    assert has_dials(parse_cell("llama-bfloat16-sdpa-cpu_disk-left-prefill"), llama, device) is read
    assert has_dials(parse_cell("llama-bfloat16-sdpa-left-prefill"), llama, device)


def test_dials_judge_where_bars_were_calibrated_and_only_explain_elsewhere() -> None:
    known = load_architectures()
    for cell, judges in (
        ("llama-bfloat16-sdpa-prefill", True),
        ("llama-bfloat16-sdpa-continued", True),
        ("llama-float32-sdpa-prefill", False),
        ("llama-bfloat16-sdpa-generate", False),
        ("llama-bfloat16-sdpa-left-padding_invariance", False),
        ("llama-bfloat16-sdpa-nf4-prefill", False),
    ):
        assert has_dials(parse_cell(cell), known["llama"], Device.CPU)
        assert dials_judge(parse_cell(cell), known["llama"]) is judges
    installed = replace(known["llama"], inputs={"tokens": True})
    cell = parse_cell("llama-bfloat16-sdpa-prefill")
    assert has_dials(cell, installed, Device.CPU)
    assert not dials_judge(cell, installed)


def test_what_is_laid_to_one_call_in_one_batch_alone_is_not_added_to_what_is_off_in_all() -> None:
    one, everywhere = reading(value=10.0, bar=2.0, call=2, calls=2), reading(value=5.0, bar=1.0)
    assert added_up([[one], [everywhere]]) == (one,)
    (both,) = added_up([[one], [one]])
    assert (both.batches, both.words) == (2, "softmax scale in call 2 of 2 alone")


def test_readings_add_up_where_nothing_is_compiled_for_each() -> None:
    plain, flex = (parse_cell(f"llama-bfloat16-{one}-prefill") for one in ("sdpa", "flex_attention"))
    assert dials_add_up(plain)
    assert not dials_add_up(flex)
    assert not dials_add_up(parse_cell("llama-float16-sdpa-tp2-left-prefill"))
    assert not dials_add_up(replace(plain, transformation=TRANSFORMATIONS["compiled"]))
    assert another_batch(0) == 0
    assert len({seed + another_batch(number) for seed in range(100) for number in range(BATCHES)}) == 100 * BATCHES
