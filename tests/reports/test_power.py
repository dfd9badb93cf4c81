"""What was caught of the seeded faults: the counts, and the section of the page that shows them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.axes import Dtype
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.document import Report
from reports.html import render_html
from reports.power import (
    RULES,
    Power,
    PowerSummary,
    Rules,
    SabotageTrial,
    Tally,
    Trial,
    gravest_misses_first,
    limit_text,
    other_versions,
    power_lines,
    share_text,
    summarise,
    zoo_lines,
)
from tests.builders import PROPERTY, cuda_stack, make_stack, record_of
from tests.reports.test_html import Page, report

WHEN = datetime(2026, 11, 20, tzinfo=UTC)
FAULTS = {"scale_2_percent": "a rounded scale", "left_read_as_right": "padding on the wrong side"}


def trial(fault: str = "", *, caught: bool = False, dtype: Dtype = Dtype.FLOAT32, **changes: Any) -> Trial:
    given: dict[str, Any] = {
        "cell": f"llama-{dtype}-sdpa-prefill",
        "architecture": "llama",
        "verdict": Verdict.INACCURATE if caught else Verdict.SUPPORTED,
        "ratio": 9.0 if caught else 0.5,
        "caught": Rules(suite=caught, transformers=False, assert_close=True),
    }
    return Trial(fault=fault, dtype=dtype, **(given | changes))


def sweep(*results: tuple[float, bool], dtype: Dtype = Dtype.FLOAT32, architecture: str = "llama") -> list[Trial]:
    return [
        trial("scale", caught=caught, dtype=dtype, architecture=architecture, percent=percent)
        for percent, caught in results
    ]


def summary(trials: Iterable[Trial], stack: Stack | None = None) -> PowerSummary:
    given = stack or cuda_stack()
    return summarise(Power(started=WHEN, finished=WHEN, stack=given, faults=FAULTS, trials=list(trials)))


def with_power(power: PowerSummary | None) -> Report:
    made = report(record_of("llama-float32-sdpa-prefill"))
    made.power = power
    return made


def section(power: PowerSummary | None) -> str:
    text = Page(render_html(with_power(power))).text
    return text[text.rindex("What this suite can see") : text.index("What the model class declares")]


EXAMPLE = [
    trial(),
    trial(dtype=Dtype.BFLOAT16, caught=True),
    trial("scale_2_percent", caught=True),
    trial("scale_2_percent", dtype=Dtype.BFLOAT16, signal_to_noise=0.25),
    trial("left_read_as_right", caught=True, architecture="gpt2"),
    trial("left_read_as_right", dtype=Dtype.BFLOAT16, signal_to_noise=3.5, cell="t5-bfloat16-sdpa-prefill"),
    *sweep((5, True), (2, True), (1, False)),
    *sweep((5, True), (2, False), (1, False), architecture="gpt2"),
    *sweep((5, False), dtype=Dtype.BFLOAT16),
]


def test_faults_honest_runs_and_the_sweep_are_counted_apart() -> None:
    found = summary(EXAMPLE)
    assert found.total[Dtype.FLOAT32].asked["suite"] == found.total[Dtype.FLOAT32].caught["suite"] == 2
    assert found.total[Dtype.BFLOAT16].caught["suite"] == 0
    alarms = {"suite": 0, "size": 0, "transformers": 0, "assert_close": 1, "greedy_text": 0}
    assert found.honest[Dtype.FLOAT32].caught == alarms
    assert found.honest[Dtype.FLOAT32].asked["greedy_text"] == 0
    assert [fault.name for fault in found.faults] == list(FAULTS)
    assert found.architectures == ["llama", "gpt2"]
    assert [miss.fault for miss in found.misses] == ["scale_2_percent", "left_read_as_right"]


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0, 5.0]), st.booleans()), unique_by=lambda pair: pair[0]))
def test_at_the_limit_and_above_it_everything_is_caught(results: list[tuple[float, bool]]) -> None:
    limit = summary(sweep(*results)).limit(Dtype.FLOAT32)
    if limit is None:
        assert not results or not max(results)[1]
    else:
        assert all(caught for percent, caught in results if percent >= limit)
        below = [pair for pair in results if pair[0] < limit]
        assert not below or not max(below)[1]


def test_the_limit_of_a_dtype_is_that_of_its_worst_architecture() -> None:
    found = summary(EXAMPLE)
    assert found.limits[Dtype.FLOAT32] == {"llama": 2, "gpt2": 5}
    assert found.limit(Dtype.FLOAT32) == 5
    assert found.limit(Dtype.BFLOAT16) is None
    assert found.limit(Dtype.FLOAT16) is None


@pytest.mark.parametrize(
    ("to_noise", "below", "line"),
    [(0.99, True, "below noise"), (1.0, False, "MISSED"), (None, False, "MISSED")],
)
def test_a_miss_is_excused_only_by_noise(to_noise: float | None, below: bool, line: str) -> None:
    miss = trial("scale_2_percent", signal_to_noise=to_noise)
    assert miss.below_noise is below
    assert any(text.startswith(f"{line}: scale_2_percent in {miss.cell}") for text in power_lines(summary([miss])))
    text = section(summary([miss]))
    row = text[text.index(f"scale_2_percent {miss.cell}") :]
    assert line in row
    assert ("MISSED" in row) is not below


def test_the_section_says_where_when_and_with_what_it_was_measured() -> None:
    text = section(summary(EXAMPLE, cuda_stack({"torch": "2.12.1"})))
    assert "Measured on 2026-11-20 on NVIDIA H100 with torch 2.12.1, transformers 5.23.0" in text
    assert "2 kinds of faults were seeded" in text
    assert "on 2 architectures (llama, gpt2)" in text
    # The run beside it was of torch 2.13.0 without transformers.
    assert "Other libraries than in this run: torch 2.12.1, here 2.13.0; transformers 5.23.0, here absent." in text


def test_the_same_libraries_are_not_mentioned() -> None:
    assert other_versions(make_stack(), make_stack()) == []
    assert "Other libraries" not in section(summary(EXAMPLE, Stack({"torch": "2.13.0"}, make_stack().device)))


def test_faults_caught_stand_beside_false_alarms_for_every_rule() -> None:
    text = section(summary(EXAMPLE))
    rules = text[text.index("Faults caught, and false alarms") : text.index("Detection limit")]
    assert "this suite 2 of 2 0 of 2 0 of 1 1 of 1" in rules
    assert f"{RULES['assert_close']} 2 of 2 2 of 2 1 of 1 1 of 1" in rules
    assert f"{RULES['greedy_text']} not asked not asked not asked not asked" in rules


def test_each_fault_has_its_meaning_and_its_counts() -> None:
    text = section(summary(EXAMPLE))
    assert "scale_2_percent a rounded scale 1 of 1 0 of 1" in text
    assert "left_read_as_right padding on the wrong side 1 of 1 0 of 1" in text


def test_limits_stand_for_all_architectures_together_and_for_each() -> None:
    text = section(summary(EXAMPLE))
    assert "on every one 5 % none found llama 2 % none found gpt2 5 % not measured" in text
    assert "no sweep of the softmax scale" in section(summary([trial("scale_2_percent", caught=True)]))
    assert limit_text(0.05) == "0.05 %"


def test_the_limit_by_the_size_of_the_error_stands_beside_that_of_the_suite() -> None:
    swept = sweep((5, True), (2, True), (1, False))
    for one, by_size in zip(swept, (True, False, False), strict=True):
        one.caught = one.caught.model_copy(update={"size": by_size})
    found = summary(swept)
    assert (found.limit(Dtype.FLOAT32), found.size_limit(Dtype.FLOAT32)) == (2, 5)
    assert "on every one, by the size of the error alone 5 %" in section(found)
    assert "detection limit in float32: 2 % of softmax scale; 5 % by size alone" in power_lines(found)
    assert "by the size of the error alone" not in section(summary(EXAMPLE)).partition("Detection limit")[2]


def test_what_should_have_been_caught_comes_before_what_is_below_noise() -> None:
    found = summary(EXAMPLE)
    assert [miss.below_noise for miss in found.misses] == [True, False]
    assert [miss.below_noise for miss in gravest_misses_first(found.misses)] == [False, True]
    text = section(found)
    assert "1 MISSED, 1 below noise" in text
    misses = text[text.index("Misses") :]
    assert misses.index("left_read_as_right t5-bfloat16-sdpa-prefill 0.50 3.50 MISSED") < misses.index(
        "scale_2_percent llama-bfloat16-sdpa-prefill 0.50 0.25 below noise"
    )


def test_a_catalogue_that_is_caught_throughout_has_no_misses() -> None:
    assert "None: every fault was caught" in section(summary([trial("scale_2_percent", caught=True)]))


def test_a_device_on_which_nothing_was_measured_says_so() -> None:
    text = section(None)
    assert "Not yet measured on such a device" in text
    assert "Misses" not in text


def test_nothing_measured_at_all_still_renders() -> None:
    assert "0 kinds of faults were seeded" in section(summary([]))


def test_a_rule_that_another_release_did_not_ask_is_left_out() -> None:
    assert share_text(Tally(asked={}, caught={})) == ""
    assert share_text(None) == ""
    assert share_text(Tally(asked={"suite": 1200}, caught={"suite": 1100})) == "1,100 of 1,200"
    found = summary([trial("scale_2_percent", caught=True)])
    found.faults[0].by_dtype[Dtype.FLOAT32] = Tally(asked={"new": 1}, caught={"new": 1})
    found.total = {Dtype.FLOAT32: Tally(asked={"new": 1}, caught={})}
    assert "this suite not asked not asked" in section(found)


def spoiled(name: str, verdict: Verdict, reason: str, *, caught: bool) -> SabotageTrial:
    cell = "llama-bfloat16-sdpa-left-prefill"
    return SabotageTrial(name=name, stands_for=f"{name}!", cell=cell, verdict=verdict, reason=reason, caught=caught)


def test_a_cell_that_sabotage_left_green_is_said_loudly() -> None:
    found = summary([trial("scale_2_percent", caught=True)])
    found.sabotage = [
        spoiled("swapped", Verdict.NOT_BUILT, "golden is no truth", caught=True),
        spoiled("bits_flipped", Verdict.SUPPORTED, "built anew", caught=True),
        spoiled("<i>looks away", Verdict.SUPPORTED, "within bounds", caught=False),
    ]
    lines = "\n".join(power_lines(found))
    assert "sabotage of the suite itself: 2 of 3 cells not green" in lines
    assert "swapped: 1/1 not_built" in lines
    assert "bits_flipped: 1/1 named and mended" in lines
    assert "looks away: 0/1 LEFT GREEN" in lines
    text = section(found)
    assert "2 of 3 cells were not left green" in text
    assert "<i>looks away" in text
    assert "LEFT GREEN" in text


def test_a_suite_that_nobody_spoiled_says_so() -> None:
    assert "Not yet tried on such a device." in section(summary([trial("scale_2_percent", caught=True)]))


def test_of_many_architectures_those_in_which_something_is_missed_are_named() -> None:
    seeded = [("one", True), ("one", True), ("two", True), ("two", False)]
    trials = [trial("scale_2_percent", caught=caught, architecture=name) for name, caught in seeded]
    honest = [trial(architecture="one"), trial(caught=True, architecture="two")]
    power = Power(started=WHEN, finished=WHEN, stack=make_stack(), faults=FAULTS, trials=[*honest, *trials])
    lines = list(zoo_lines(power))
    assert lines[0].startswith("float32: 3 of 4 faults caught, 1 of 2 honest runs accused")
    assert "in 1 of 2 architectures" in lines[1]
    assert lines[2].startswith("  two: ")
    assert len(lines) == 3
