"""What to believe of a cell that failed, once it has run again."""

from collections.abc import Sequence

import pytest

from matrix.doubt import MOST_OTHERS, after_death, after_want, believed, recent, smallest_suffix
from matrix.verdict import Judgement, Verdict

WRONG, RIGHT, RAISED = (
    Judgement(Verdict.INACCURATE, "max 9"),
    Judgement(Verdict.SUPPORTED, "max 0.5"),
    Judgement(Verdict.ERROR, "TypeError"),
)


@pytest.mark.parametrize("came_again", [True, False])
def test_two_that_disagree_alone_are_flaky_whatever_comes_after_others(came_again: bool) -> None:
    found = believed(WRONG, RIGHT, RAISED, ["a"], came_again=came_again)
    assert found == Judgement(
        Verdict.FLAKY, "first inaccurate (max 9), then alone supported (max 0.5) and error (TypeError)"
    )


@pytest.mark.parametrize("alone", [RIGHT, RAISED])
def test_what_others_bring_about_is_not_the_cells_fault(alone: Judgement) -> None:
    found = believed(WRONG, alone, alone, ["a"], came_again=True)
    said = f"{alone.reason}; after a, which left the process changed, it was inaccurate (max 9)"
    assert found == Judgement(alone.verdict, said)


@pytest.mark.parametrize(
    ("others", "where"),
    [
        ([], "no cell had been measured before it"),
        (["a"], "after a it did not come again"),
        (["a", "b", "c"], "after a and b and c it did not come again"),
        (["a", "b", "c", "d"], "after a and the 3 cells up to d it did not come again"),
    ],
)
def test_what_never_came_again_is_flaky(others: list[str], where: str) -> None:
    found = believed(WRONG, RIGHT, RIGHT, others, came_again=False)
    assert found == Judgement(Verdict.FLAKY, f"first inaccurate (max 9), then alone twice supported (max 0.5); {where}")


def test_a_death_is_believed_if_it_comes_again_alone() -> None:
    first, again = Judgement(Verdict.CRASHED, "in load"), Judgement(Verdict.CRASHED, "in forward")
    assert after_death(first, again) == again
    assert after_death(first, RIGHT) == Judgement(
        Verdict.FLAKY, "first crashed (in load), then alone supported (max 0.5)"
    )


@pytest.mark.parametrize(
    ("others", "beside"), [(0, "what this process had kept"), (1, "1 other worker"), (11, "11 other workers")]
)
def test_want_of_memory_is_believed_if_it_comes_again_alone(others: int, beside: str) -> None:
    first, again = Judgement(Verdict.OUT_OF_MEMORY, "here"), Judgement(Verdict.OUT_OF_MEMORY, "asked for 2 GiB")
    said = f"asked for 2 GiB; alone as well as beside {beside}; GPU 0: 70 GiB are in use"
    assert after_want(first, again, others, ["GPU 0: 70 GiB are in use"]) == Judgement(Verdict.OUT_OF_MEMORY, said)
    found = after_want(first, WRONG, others, ["GPU 0: 70 GiB are in use"])
    assert found == Judgement(Verdict.INACCURATE, f"max 9; beside {beside} it ran out of memory (here)")


def test_the_last_cells_are_tried_as_far_as_there_is_time() -> None:
    measured = [(str(number), 1.0) for number in range(100)]
    assert recent(measured, 1000.0) == [str(number) for number in range(100 - MOST_OTHERS, 100)]
    assert recent(measured, 2.5) == ["98", "99"]
    assert recent([("long", 9.0), ("short", 1.0)], 2.0) == ["short"]
    assert recent([], 9.0) == recent(measured, 0.5) == []


@pytest.mark.parametrize("culprit", range(9))
def test_the_smallest_end_that_does_it_begins_with_the_culprit(culprit: int) -> None:
    cells, tried = list(range(9)), list[Sequence[int]]()

    def comes_again(others: Sequence[int]) -> bool:
        tried.append(others)
        return culprit in others

    assert list(smallest_suffix(cells, comes_again)) == cells[culprit:]
    assert len(tried) <= 4


def test_without_time_all_of_them_are_named() -> None:
    tried: list[Sequence[int]] = []
    assert smallest_suffix([1, 2, 3], lambda others: bool(tried.append(others)), lambda: False) == [1, 2, 3]
    assert tried == []
