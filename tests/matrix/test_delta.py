"""Sets of changes and rows of releases of which something fails: what is found is held against trying everything."""

from collections.abc import Callable, Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from matrix.delta import Answer, first_that_fails, smallest
from tests.builders import PROPERTY

FAILS, PASSES, UNKNOWN = Answer


class Asked:
    """Counts what is asked, and refuses to be asked twice."""

    def __init__(self, answer: Callable[[object], Answer]) -> None:
        self._answer = answer
        self.of: list[object] = []

    def __call__(self, one: object) -> Answer:
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
    left = smallest(changes, Asked(lambda some: seen[frozenset(some)]))
    assert seen[frozenset(left)] is FAILS
    assert list(left) == [change for change in changes if change in left]
    assert all(seen[frozenset(left) - {change}] is not FAILS for change in left)


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

    left = set(smallest(range(20), Asked(seen)))
    assert guilty <= left
    if not needed:
        assert left == guilty
    for change in left - guilty:  # it is needed, or needs what would not come alone
        assert seen([one for one in range(20) if one in left - {change}]) is UNKNOWN


def test_one_of_many_is_found_with_few_questions() -> None:
    for guilty in range(64):
        asked = Asked(lambda some, guilty=guilty: FAILS if guilty in some else PASSES)
        assert smallest(range(64), asked) == (guilty,)
        assert len(asked.of) <= 12


def test_a_single_change_is_guilty_without_a_question() -> None:
    assert smallest(["transformers"], Asked(lambda some: UNKNOWN)) == ("transformers",)


@PROPERTY
@given(st.lists(st.sampled_from(Answer), max_size=12))
def test_a_release_that_passes_is_before_one_that_fails_whatever_else_is_seen(seen: list[Answer]) -> None:
    found = first_that_fails(range(len(seen)), Asked(lambda place: seen[place]))
    low = -1 if found.passes is None else found.passes
    high = len(seen) if found.fails is None else found.fails
    assert low < high
    assert low == -1 or seen[low] is PASSES
    assert high == len(seen) or seen[high] is FAILS
    assert found.unknown == tuple(range(low + 1, high))
    assert all(seen[place] is UNKNOWN for place in found.unknown)
    assert [answer for _, answer in found.tried] == [seen[place] for place, _ in found.tried]


@PROPERTY
@given(
    passing=st.lists(st.sampled_from([PASSES, UNKNOWN]), max_size=12),
    failing=st.lists(st.sampled_from([FAILS, UNKNOWN]), max_size=12),
)
def test_what_fails_from_a_release_on_is_found_as_by_trying_each(passing: list[Answer], failing: list[Answer]) -> None:
    seen = [*passing, *failing]
    found = first_that_fails(range(len(seen)), Asked(lambda place: seen[place]))
    assert found.passes == max((place for place, answer in enumerate(seen) if answer is PASSES), default=None)
    assert found.fails == min((place for place, answer in enumerate(seen) if answer is FAILS), default=None)


def test_the_oldest_and_the_newest_are_asked_first_then_halves() -> None:
    found = first_that_fails(range(100), lambda release: FAILS if release >= 37 else PASSES)
    assert (found.passes, found.fails, found.unknown) == (36, 37, ())
    assert [release for release, _ in found.tried][:4] == [0, 99, 49, 24]
    assert len(found.tried) <= 9


def test_a_run_of_releases_that_do_not_install_is_left_behind() -> None:
    def seen(release: int) -> Answer:
        return UNKNOWN if 40 <= release < 60 else FAILS if release >= 80 else PASSES

    found = first_that_fails(range(100), seen)
    assert (found.passes, found.fails) == (79, 80)
    assert sum(answer is UNKNOWN for _, answer in found.tried) <= 2
