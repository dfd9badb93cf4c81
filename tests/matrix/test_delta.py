"""Sets of changes and rows of releases of which something fails: what is found is held against trying everything."""

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from matrix.delta import Answer, Smallest, course_of, smallest
from tests.builders import PROPERTY

FAILS, PASSES, UNKNOWN = Answer


class Asked:
    """Counts what is asked, and refuses to be asked twice."""

    def __init__(self, answer: Callable[[object], object]) -> None:
        self._answer = answer
        self.of: list[object] = []

    def __call__(self, one: object) -> object:
        key = frozenset(one) if isinstance(one, Sequence) else one
        assert key not in self.of, f"{one} was asked twice"
        self.of.append(key)
        return self._answer(one)


@st.composite
def sets_that_fail(draw: st.DrawFn) -> tuple[list[int], dict[frozenset[int], Answer]]:
    """Up to six changes and what is seen with each set of them: anything, but that all fail and none does not."""
    changes = list(range(draw(st.integers(1, 6))))
    every = [frozenset(some) for size in range(len(changes) + 1) for some in combinations(changes, size)]
    seen = {some: draw(st.sampled_from(Answer)) for some in every}
    return changes, seen | {frozenset(): PASSES, frozenset(changes): FAILS}


@PROPERTY
@given(sets_that_fail())
def test_what_is_left_fails_and_none_of_it_can_be_left_out(
    given: tuple[list[int], dict[frozenset[int], Answer]],
) -> None:
    changes, seen = given
    found = smallest(changes, Asked(lambda some: seen[frozenset(some)]))
    left = found.changes
    assert seen[frozenset(left)] is FAILS
    assert list(left) == [change for change in changes if change in left]
    assert all(seen[frozenset(left) - {change}] is not FAILS for change in left)
    assert found.unproven == tuple(change for change in left if seen[frozenset(left) - {change}] is UNKNOWN)


@PROPERTY
@given(
    guilty=st.frozensets(st.integers(0, 19), min_size=1, max_size=4),
    needed=st.dictionaries(st.integers(0, 19), st.integers(0, 19), max_size=4),
)
def test_one_set_that_fails_is_found_though_some_changes_do_not_come_without_others(
    guilty: frozenset[int], needed: dict[int, int]
) -> None:
    def seen(some: Sequence[int]) -> Answer:
        if any(change in some and other not in some for change, other in needed.items()):
            return UNKNOWN  # what it needs is not there: nothing runs
        return FAILS if guilty <= set(some) else PASSES

    left = set(smallest(range(20), Asked(seen)).changes)
    assert guilty <= left
    if not needed:
        assert left == guilty
    for change in left - guilty:  # it is needed, or needs what would not come alone
        assert seen([one for one in range(20) if one in left - {change}]) is UNKNOWN


def test_one_of_many_is_found_with_few_questions() -> None:
    for guilty in range(64):
        asked = Asked(lambda some, guilty=guilty: FAILS if guilty in some else PASSES)
        assert smallest(range(64), asked) == Smallest((guilty,))
        assert len(asked.of) <= 12


def test_a_single_change_is_guilty_without_a_question() -> None:
    assert smallest(["transformers"], Asked(lambda some: UNKNOWN)) == Smallest(("transformers",))


@PROPERTY
@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12))
def test_whatever_is_seen_a_step_is_between_two_that_differ_and_nothing_else_is_told(seen: list[str | None]) -> None:
    course = course_of(range(len(seen)), Asked(lambda place: seen[place]))
    assert [said for _, said in course.seen] == [seen[place] for place, _ in course.seen]
    assert sorted(course.asked) == [place for place, _ in course.seen]
    for step in course.steps:
        assert (seen[step.last], seen[step.first]) == (step.was, step.now)
        assert step.was != step.now
        assert step.unknown == tuple(range(step.last + 1, step.first))
        assert all(seen[place] is None for place in step.unknown)
    assert any(said is not None for _, said in course.seen) or len(course.asked) == len(seen)


def held_against_trying_each(seen: list[int | None]) -> None:
    told = [(place, era) for place, era in enumerate(seen) if era is not None]
    steps = [(last, first) for (last, was), (first, now) in pairwise(told) if was != now]
    course = course_of(range(len(seen)), Asked(lambda place: seen[place]))
    assert [(step.last, step.first) for step in course.steps] == steps


@PROPERTY
@given(st.lists(st.tuples(st.integers(1, 5), st.sets(st.integers(1, 4))), min_size=1, max_size=4))
def test_what_stays_until_it_changes_is_found_as_by_trying_each(eras: list[tuple[int, set[int]]]) -> None:
    seen = [None if place in unknown else era for era, (length, unknown) in enumerate(eras) for place in range(length)]
    held_against_trying_each([*seen, len(eras) - 1])


@PROPERTY
@given(
    before=st.integers(0, 20),
    eras=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    after=st.integers(0, 20),
)
def test_releases_at_either_end_of_which_nothing_can_be_told_hide_no_step(
    before: int, eras: list[int], after: int
) -> None:
    seen = [era for era, length in enumerate(eras) for _ in range(length)]
    held_against_trying_each([*[None] * before, *seen, *[None] * after])


def test_a_long_past_in_which_nothing_runs_is_left_behind_in_leaps() -> None:
    course = course_of(range(1000), lambda release: None if release < 700 else release >= 900)
    assert [(step.last, step.first) for step in course.steps] == [(899, 900)]
    assert course.asked[:7] == (999, 0, 1, 3, 7, 15, 31)
    assert len(course.asked) <= 30


def test_the_newest_and_the_oldest_are_asked_first_then_halves() -> None:
    course = course_of(range(100), lambda release: release >= 37)
    ((step),) = course.steps
    assert (step.last, step.first, step.unknown) == (36, 37, ())
    assert course.asked[:4] == (99, 0, 49, 24)
    assert len(course.asked) <= 9


def test_two_steps_cost_twice_as_much_and_no_more() -> None:
    course = course_of(range(1000), lambda release: (release >= 300) + (release >= 301))
    assert [(step.last, step.first) for step in course.steps] == [(299, 300), (300, 301)]
    assert len(course.asked) <= 22


def test_a_run_of_releases_that_do_not_install_is_left_behind() -> None:
    course = course_of(range(100), lambda release: None if 40 <= release < 60 else release >= 80)
    ((step),) = course.steps
    assert (step.last, step.first) == (79, 80)
    assert sum(said is None for _, said in course.seen) <= 2
