import math
import random
from dataclasses import replace

import pytest

from matrix.advice.noise import MOST_REPEATS, SHORT, Gain, gain, middle, repeats


def test_a_round_that_was_slow_for_both_says_nothing() -> None:
    ours, theirs = {0: 1.0, 1: 5.0, 2: 1.1}, {0: 1.5, 1: 7.5, 2: 1.65}
    found = gain(ours, theirs)
    assert found is not None
    assert found.ratio == pytest.approx(1.5)
    assert found.low == pytest.approx(1.5)
    assert found.better


@pytest.mark.parametrize(
    ("seconds", "more"), [(1.0, 0), (SHORT, 0), (SHORT / 3, 3), (SHORT / 2.5, 3), (SHORT / 1000, MOST_REPEATS)]
)
def test_only_a_short_call_is_timed_again(seconds: float, more: int) -> None:
    assert repeats(seconds) == more


def test_one_round_tells_no_difference() -> None:
    found = gain({0: 1.0}, {0: 3.0})
    assert found is not None
    assert not found.better
    assert not found.told
    assert "measured once" in found.words


def test_rounds_that_only_one_of_them_has_do_not_count() -> None:
    assert gain({0: 1.0}, {1: 1.0}) is None
    found = gain({0: 1.0, 1: 1.0, 7: 99.0}, {0: 2.0, 1: 2.0, 8: 0.1})
    assert found is not None
    assert (found.ratio, found.rounds) == (pytest.approx(2), 2)


def test_what_is_a_little_better_is_not_named() -> None:
    found = gain(dict.fromkeys(range(5), 1.0), dict.fromkeys(range(5), 1.005))
    assert found is not None
    assert not found.better


@pytest.mark.parametrize("rounds", [3, 5, 8])
def test_of_two_that_are_alike_few_are_told_apart(rounds: int) -> None:
    draw = random.Random(rounds)
    told = 0
    for _ in range(2000):
        sides = [{n: math.exp(draw.gauss(0, 0.1)) for n in range(rounds)} for _ in range(2)]
        found = gain(*sides)
        assert found is not None
        told += found.better or found.worse
    assert told < 0.06 * 2000  # 5 % by what the interval is, less since what is negligible is not named
    assert told > 0.02 * 2000


def test_a_round_in_which_the_host_stopped_hides_no_difference() -> None:
    """BERT-large on an H100, 32 rows: recorded graphs against none, in milliseconds."""
    recorded = dict(enumerate((25.7, 25.3, 25.3, 25.2, 25.4, 25.3)))
    plain = dict(enumerate((63.0, 28.6, 29.9, 28.0, 28.4, 28.5)))
    found = gain(recorded, plain)
    assert found is not None
    assert found.better
    assert found.high < 1.3
    assert middle(plain.values()) == pytest.approx(28.85)
    assert middle([1.0, 9.0]) == 5.0


def test_means_of_other_rounds_are_not_called_a_measurement() -> None:
    once = Gain(1.5, 0.0, math.inf, 1)
    assert once.words == "about 1.50 times, measured once"
    assert replace(once, rounds=0).words == "about 1.50 times, not measured in the same rounds"
    assert not replace(once, rounds=0).told
