"""What cells came to together, release by release: no more than was seen."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.verdict import Verdict
from reports.document import Waived
from reports.intervals import (
    CameTo,
    Interval,
    Seen,
    all_came_to,
    by_release,
    interval_words,
    intervals,
    intervals_of_one,
    outcome_of,
)
from reports.support import State
from tests.builders import PROPERTY, record_of

S, R, W = State.SUPPORTED, State.REFUSED, State.WRONG
VERSIONS = ("4.48.3", "4.57.6", "5.0.0", "5.1.2")  # none lies between the last three, and many before them
ONE, TWO, THREE = "llama-float32-sdpa-prefill", "llama-float32-sdpa-left-prefill", "llama-float32-sdpa-generate"


@pytest.mark.parametrize(
    ("supported", "refused", "wrong", "came_to"),
    [
        (3, 0, 0, CameTo.SUPPORTED),
        (1, 2, 0, CameTo.SUPPORTED),
        (0, 2, 0, CameTo.REFUSED),
        (0, 0, 1, CameTo.WRONG),
        (0, 3, 1, CameTo.WRONG),
        (3, 0, 1, CameTo.MIXED),
    ],
)
def test_cells_together_are_no_better_than_they_are(supported: int, refused: int, wrong: int, came_to: CameTo) -> None:
    assert all_came_to(supported, refused, wrong) is came_to


def words(*cells: Sequence[State | None]) -> str:
    versions = VERSIONS[: len(cells[0])]
    return interval_words(intervals([tuple(cell) for cell in cells], versions), versions)


def test_since_which_release_is_said_where_a_cell_was_seen_to_change() -> None:
    assert words([W, W, S, S]) == "supported since 5.0.0; wrong in 4.48.3 to 4.57.6"
    assert words([W, W, W, S]) == "supported since 5.1.2; wrong in 4.48.3 to 5.0.0"
    assert words([S, S, S, S]) == "supported since ≤ 4.48.3"
    assert words([R, R, None, None]) == "refused in 4.48.3 to 4.57.6, not measured since"
    assert words([S, None, S, S]) == "supported since ≤ 4.48.3"


def test_a_change_in_releases_that_nobody_measured_may_have_come_in_any_of_them() -> None:
    assert words([W, S, S, S]) == "supported since ≤ 4.57.6; wrong in 4.48.3"
    assert words([R, None, None, S]) == "supported since ≤ 5.1.2; refused in 4.48.3"
    assert words([R, R, None, S]) == "supported since ≤ 5.1.2; refused in 4.48.3 to 4.57.6"


def test_other_cells_in_a_newer_release_are_no_change() -> None:
    assert words([S, S, S], [None, None, W]) == "wrong in part since ≤ 5.0.0; supported in 4.48.3 to 4.57.6"
    assert words([S, S, W], [None, None, W]) == "wrong since 5.0.0; supported in 4.48.3 to 4.57.6"


def test_a_release_in_which_nothing_was_measured_came_to_nothing() -> None:
    assert by_release([(S, None, W), (S, None, S)]) == [CameTo.SUPPORTED, None, CameTo.MIXED]


@PROPERTY
@given(st.lists(st.lists(st.sampled_from([S, R, W, None]), min_size=4, max_size=4), min_size=1, max_size=4))
def test_intervals_are_in_order_and_every_measured_release_is_in_one_of_what_it_came_to(
    cells: list[list[State | None]],
) -> None:
    given_cells = [tuple(cell) for cell in cells]
    spans = intervals(given_cells, VERSIONS)
    for place, came_to in enumerate(by_release(given_cells)):
        if came_to is not None:
            (span,) = [one for one in spans if one.first <= place <= one.last]
            assert span.came_to is came_to
    assert all(one.last < other.first for one, other in pairwise(spans))
    assert not any(one.begins for one in spans[:1])


def test_of_one_thing_every_change_was_seen() -> None:
    assert intervals_of_one(["a", None, "a", "b"], VERSIONS) == (Interval("a", 0, 2, False), Interval("b", 3, 3, True))


def test_what_is_not_right_is_gathered_by_cause_the_gravest_first_with_its_shortest_cell() -> None:
    known = Waived(reason="a fault", url="https://github.com/a/b/issues/1")
    cells = [
        Seen(W, record_of(TWO, Verdict.INACCURATE, "max error 3.2 exceeds 1.1", waived=known), "run"),
        Seen(W, record_of(ONE, Verdict.INACCURATE, "max error 4.5 exceeds 1.2", waived=known), "run"),
        Seen(R, record_of(THREE, Verdict.REFUSED, "ValueError in load: no"), "run"),
    ]
    outcome = outcome_of([*cells, Seen(S, record_of("llama-float32-eager-prefill"), "run")])
    assert (outcome.supported, outcome.refused, outcome.wrong) == (1, 1, 2)
    wrong, refused = outcome.troubles
    assert (wrong.cell, wrong.count, wrong.fault, wrong.url) == (ONE, 2, "a fault", known.url)
    assert (refused.cell, refused.state, refused.count) == (THREE, State.REFUSED, 1)


def test_a_known_and_an_unknown_fault_are_two_even_in_the_same_words() -> None:
    known = Waived(reason="a fault", url="https://github.com/a/b/issues/1")
    cells = [
        Seen(W, record_of(ONE, Verdict.ERROR, "x", waived=known), "run"),
        Seen(W, record_of(TWO, Verdict.ERROR, "x"), "run"),
    ]
    assert [trouble.count for trouble in outcome_of(cells).troubles] == [1, 1]
