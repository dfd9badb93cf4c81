"""The numerical rule: each part of it can fail a comparison, alone, and at the edge."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from matrix.dials import Reading
from matrix.observation import Comparison
from matrix.oracle import (
    AGREEING,
    CONSEQUENCE_FACTOR,
    GRADIENTS,
    LUCK,
    QUANTISED,
    SINGLE,
    UNQUANTISED,
    YARDSTICK_LIMIT,
    YARDSTICK_LIMIT_SINGLE,
    bounds,
    may_be_luck,
    no_yardstick,
    problems,
)
from tests.builders import HONEST, PROPERTY

ALLOWED_MAX = UNQUANTISED.k_max * HONEST.baseline_max + HONEST.floor_max
ALLOWED_MEAN = UNQUANTISED.k_mean * HONEST.baseline_mean
ALLOWED_REGRET = CONSEQUENCE_FACTOR * ALLOWED_MAX
GENERATED = replace(HONEST, regret_max=0.0)


@pytest.mark.parametrize("comparison", [HONEST, GENERATED], ids=["prefill", "generate"])
def test_an_honest_comparison_holds(comparison: Comparison) -> None:
    assert problems(comparison) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"candidate_max": math.nextafter(ALLOWED_MAX, math.inf)}, "max error 3.25 exceeds", id="max"),
        pytest.param({"candidate_mean": math.nextafter(ALLOWED_MEAN, math.inf)}, "mean error 0.35 exceeds", id="mean"),
        pytest.param({"regret_max": math.nextafter(ALLOWED_REGRET, math.inf)}, "regret error 6.5 exceeds", id="regret"),
        pytest.param({"shape_matches": False}, "the shape of the logits", id="shape"),
        pytest.param({"dtype_matches": False}, "the dtype of the logits", id="dtype"),
        pytest.param({"finite": False}, "not finite", id="not finite"),
        pytest.param({"positions": 0}, "no position was compared", id="zero positions"),
        pytest.param({"candidate_max": 0.0}, "equal to the truth to the last bit", id="golden itself"),
        pytest.param({"candidate_max": math.nan}, "max error nan exceeds", id="NaN max"),
        pytest.param({"candidate_mean": math.nan}, "mean error nan exceeds", id="NaN mean"),
        pytest.param({"regret_max": math.nan}, "regret error nan exceeds", id="NaN regret"),
        pytest.param({"candidate_max": math.inf}, "max error inf exceeds", id="infinite max"),
        pytest.param({"baseline_mean": math.nan}, "exceeds nan", id="NaN baseline"),
        pytest.param({"floor_mean": math.nan}, "exceeds nan", id="NaN floor"),
        pytest.param({"baseline_mean": 0.0}, "mean error 0.25 exceeds 0.175 (1.43 of the bound)", id="better baseline"),
    ],
)
def test_each_rule_alone_turns_a_comparison_down(change: dict[str, Any], words: str) -> None:
    (problem,) = problems(replace(GENERATED, **change))
    assert problem.startswith("logits")
    assert words in problem


def test_every_rule_that_fails_is_named() -> None:
    assert len(problems(replace(GENERATED, candidate_max=9.0, candidate_mean=9.0, regret_max=9.0))) == 3
    assert len(problems(replace(GENERATED, positions=0, shape_matches=False, dtype_matches=False, finite=False))) == 4


@pytest.mark.parametrize(
    ("field", "edge", "number"),
    [("candidate_max", ALLOWED_MAX, 0), ("candidate_mean", ALLOWED_MEAN, 1), ("regret_max", ALLOWED_REGRET, 2)],
)
def test_the_edge_is_allowed_and_one_step_past_it_is_not(field: str, edge: float, number: int) -> None:
    changes: list[dict[str, Any]] = [{field: edge}, {field: math.nextafter(edge, math.inf)}]
    on, past = (bounds(replace(GENERATED, **change))[number] for change in changes)
    assert on.ratio == 1.0
    assert on.holds
    assert not past.holds


def test_a_relation_may_err_as_much_as_two_runs() -> None:
    relation = replace(HONEST, runs=2)
    largest = AGREEING.k_max * HONEST.baseline_max + HONEST.floor_max
    assert [bound.allowed for bound in bounds(relation)] == [2 * largest, 2 * ALLOWED_MEAN]
    assert problems(replace(relation, candidate_max=2 * largest, candidate_mean=2 * ALLOWED_MEAN)) == ()
    assert len(problems(replace(relation, candidate_max=9.0, candidate_mean=9.0))) == 2


def test_quantised_weights_have_a_tolerance_of_their_own() -> None:
    quantised = replace(HONEST, quantised=True)
    assert [bound.allowed for bound in bounds(quantised)] == [
        QUANTISED.k_max * HONEST.baseline_max + HONEST.floor_max,
        QUANTISED.k_mean * HONEST.baseline_mean,
    ]


def test_logits_of_another_shape_say_nothing_of_the_yardstick() -> None:
    nothing = [math.nan] * 6
    other = Comparison("logits", 4, False, True, True, *nothing)
    assert no_yardstick(other) == ""
    assert problems(other) == ("logits: the shape of the logits differs from the golden run's",)


def test_the_mean_of_few_numbers_is_held_to_what_the_largest_is() -> None:
    few = replace(HONEST, few=True)
    assert bounds(few)[1].allowed == UNQUANTISED.k_max * HONEST.baseline_mean
    assert bounds(few)[0] == bounds(HONEST)[0]


def test_float32_has_a_tolerance_of_its_own() -> None:
    single = replace(HONEST, single=True)
    assert [bound.allowed for bound in bounds(single)] == [
        SINGLE.k_max * HONEST.baseline_max + HONEST.floor_max,
        SINGLE.k_mean * HONEST.baseline_mean,
    ]
    assert bounds(replace(single, runs=2)) == bounds(replace(HONEST, runs=2))
    far = replace(single, baseline_mean=YARDSTICK_LIMIT_SINGLE * single.floor_mean * 1.01)
    assert no_yardstick(far)
    assert not no_yardstick(replace(far, baseline_mean=YARDSTICK_LIMIT * single.floor_mean * 1.01))


def test_gradients_have_a_tolerance_of_their_own() -> None:
    gradients = replace(HONEST, gradients=True)
    assert [bound.allowed for bound in bounds(gradients)] == [
        GRADIENTS.k_max * HONEST.baseline_max + HONEST.floor_max,
        GRADIENTS.k_mean * HONEST.baseline_mean,
    ]


def test_regret_is_judged_only_where_tokens_were_chosen() -> None:
    assert [bound.name for bound in bounds(HONEST)] == ["logits max", "logits mean"]
    assert [bound.name for bound in bounds(GENERATED)] == ["logits max", "logits mean", "logits regret"]


def test_the_floor_rescues_a_baseline_without_error() -> None:
    """A baseline may hit the truth on the spot; the candidate may still round."""
    exact = replace(HONEST, baseline_max=0.0, baseline_mean=0.0, candidate_max=0.25, candidate_mean=0.125)
    assert problems(exact) == ()
    assert len(problems(replace(exact, floor_max=0.0))) == 1
    assert len(problems(replace(exact, floor_mean=0.0))) == 1


def test_a_ratio_to_a_bound_of_zero() -> None:
    zero = replace(HONEST, baseline_max=0.0, floor_max=0.0)
    assert bounds(replace(zero, candidate_max=0.0))[0].ratio == 0.0
    assert bounds(replace(zero, candidate_max=1e-9))[0].ratio == math.inf


NUMBERS = ["candidate_max", "candidate_mean", "regret_max"]
ERRORS = st.floats(0, 8, width=16)
COMPARISONS = st.builds(
    Comparison,
    st.just("logits"),
    positions=st.just(8),
    shape_matches=st.just(True),
    dtype_matches=st.just(True),
    finite=st.just(True),
    candidate_max=ERRORS,
    candidate_mean=ERRORS,
    baseline_max=ERRORS,
    baseline_mean=ERRORS,
    floor_max=ERRORS,
    floor_mean=ERRORS,
    regret_max=ERRORS,
)


@PROPERTY
@given(COMPARISONS, st.sampled_from(NUMBERS), ERRORS)
def test_a_larger_error_never_mends_a_comparison(comparison: Comparison, field: str, more: float) -> None:
    worse = replace(comparison, **{field: getattr(comparison, field) + more})
    assume(comparison.candidate_max > 0)  # no error at all is no run's
    assert len(problems(worse)) >= len(problems(comparison))


@PROPERTY
@given(COMPARISONS)
def test_the_rule_does_not_depend_on_the_scale_of_the_logits(comparison: Comparison) -> None:
    names = [*NUMBERS, "baseline_max", "baseline_mean", "floor_max", "floor_mean"]
    scaled = replace(comparison, **{name: getattr(comparison, name) * 1024 for name in names})
    assert [bound.ratio for bound in bounds(scaled)] == [bound.ratio for bound in bounds(comparison)]
    assert [bound.holds for bound in bounds(scaled)] == [bound.holds for bound in bounds(comparison)]


@pytest.mark.parametrize(("times", "void"), [(YARDSTICK_LIMIT, False), (YARDSTICK_LIMIT + 1, True), (math.inf, True)])
def test_a_baseline_that_is_far_from_the_truth_is_no_yardstick(times: float, void: bool) -> None:
    """Weights that were never loaded: the candidate would be within twice its error."""
    loose = replace(HONEST, baseline_mean=times * HONEST.floor_mean, baseline_max=1e9, candidate_mean=0.25)
    assert problems(loose) == ()
    assert bool(no_yardstick(loose)) is void
    assert no_yardstick(replace(loose, quantised=True)) == no_yardstick(replace(loose, gradients=True)) == ""


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, ("logits: softmax scale +0.500 ± 0.010 %: explains 60 % of the error",)), (0.05, ())]
)
def test_a_dial_that_is_off_fails_a_comparison_within_bounds(value: float, said: tuple[str, ...]) -> None:
    reading = Reading("scale", "%", value, 0.01, 0.6)
    assert problems(replace(HONEST, readings=(reading,))) == said


def test_of_an_error_that_no_dial_explains_that_is_said() -> None:
    honest = Reading("scale", "%", 0.001, 0.01, 0.0)
    wrong = replace(HONEST, candidate_max=1e6, candidate_mean=1e6)
    assert problems(replace(wrong, readings=(honest,)))[-1] == "logits: no dial explains the error"
    assert not any("dial" in one for one in problems(wrong))  # nobody asked
    part = Reading("scale", "%", 0.5, 0.01, 0.4)
    assert problems(replace(wrong, readings=(honest, part)))[-2:] == (
        "logits: softmax scale +0.500 ± 0.010 %: explains 40 % of the error",
        "logits: no dial explains more than half of the error",
    )


@pytest.mark.parametrize(
    ("change", "luck"),
    [
        ({}, False),  # nothing to explain
        ({"candidate_max": 1.01 * ALLOWED_MAX}, True),
        ({"candidate_mean": 1.01 * ALLOWED_MEAN}, True),
        ({"candidate_mean": LUCK * ALLOWED_MEAN}, True),
        ({"candidate_mean": 1.01 * LUCK * ALLOWED_MEAN}, False),
        ({"candidate_max": 1.01 * LUCK * ALLOWED_MAX, "candidate_mean": 1.01 * ALLOWED_MEAN}, False),
        ({"candidate_mean": 1.01 * ALLOWED_MEAN, "gradients": True}, False),
        ({"candidate_max": math.nan}, False),
        ({"candidate_mean": 1.5 * ALLOWED_MEAN, "finite": False}, False),
        ({"candidate_mean": 1.5 * ALLOWED_MEAN, "shape_matches": False}, False),
        ({"candidate_mean": 1.5 * ALLOWED_MEAN, "dtype_matches": False}, False),
    ],
)
def test_what_is_a_little_beyond_the_bounds_may_be_luck(change: dict[str, Any], luck: bool) -> None:
    assert may_be_luck((HONEST, replace(HONEST, **change))) is luck
