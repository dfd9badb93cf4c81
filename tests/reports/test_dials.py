"""What is counted of dials that were read where the truth is known."""

from datetime import UTC, datetime
from typing import Any

from matrix.axes import Dtype
from matrix.dials import Reading
from reports.dials import DialPower, DialTrial, dial_lines, dial_markdown, inside, inside_turned, limits
from tests.builders import make_stack

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def trial(value: float = 0.0, *, bar: float = 0.1, **more: Any) -> DialTrial:
    given = {"architecture": "llama", "dtype": Dtype.FLOAT16, "seed": 0, "cell": "llama-float16-sdpa-left-prefill"}
    readings = [Reading("scale", "%", value, bar, 0.9), Reading("values", "%", 0.0, bar, 0.0)]
    return DialTrial(**(given | {"seen": False, "readings": readings} | more))


def power(*trials: DialTrial) -> DialPower:
    return DialPower(started=NOON, finished=NOON, stack=make_stack(), trials=list(trials))


def test_a_dial_that_is_off_in_an_honest_run_is_a_false_alarm() -> None:
    found = power(trial(), trial(1.0), trial(1.0, seen=True), trial(1.0, dial="scale", size=1.0))
    assert found.false_alarms == [trial(1.0)]
    assert any(line.startswith("FALSE ALARM llama") for line in dial_lines(found))


def test_coverage_counts_readings_within_two_bars_of_the_truth() -> None:
    assert inside([trial(0.19), trial(0.2)]) == (3, 4)
    seeded = [trial(value, dial="scale", size=1.0) for value in (1.19, 0.8)]
    assert inside_turned(seeded) == (1, 2)


def test_the_limit_is_the_smallest_size_from_which_on_every_seed_is_read() -> None:
    trials = [
        trial(value, dial="scale", size=size, seed=seed)
        for seed, sizes in enumerate([{5: 5.0, 2: 2.0, 1: 0.1}, {5: 5.0, 2: 2.0, 1: 1.0, 0.5: 0.1}])
        for size, value in sizes.items()
    ]
    assert limits(trials) == {("scale", Dtype.FLOAT16): {"llama": 2}}
    assert limits([trial(0.1, dial="scale", size=5)]) == {("scale", Dtype.FLOAT16): {"llama": None}}


def test_a_size_that_one_seed_gave_up_before_is_no_limit() -> None:
    trials = [trial(5.0, dial="scale", size=5), trial(0.1, dial="scale", size=5, seed=1)]
    assert limits([*trials, trial(2.0, dial="scale", size=2)]) == {("scale", Dtype.FLOAT16): {"llama": None}}


def test_the_page_has_limits_and_what_faults_are_laid_to() -> None:
    told = dial_markdown(power(trial(), trial(5.0, dial="scale", size=5), trial(5.0, fault="heads_swapped")))
    assert "| softmax scale | % | 5 |" in told
    assert "| heads_swapped | scale 1 |" in told
    assert "| honest runs accused | 0 of 1 |" in told
