"""What is seen once is not believed: what to make of a failing cell, from what it does when it is run again."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from matrix.verdict import Judgement, Verdict

# Verdicts that chance, or what an earlier cell left behind, can bring about. A timeout is not measured again: it would
# take as long once more.
DOUBTED = (
    Verdict.INACCURATE,
    Verdict.ERROR,
    Verdict.SUBSTITUTED,
    Verdict.UNEXPECTED,
    Verdict.NOT_BUILT,
    Verdict.CRASHED,
    Verdict.DEVICE_LOST,
)
MOST_OTHERS = 64  # cells that are measured again to see whether they bring a verdict about
_NAMED = 3
T = TypeVar("T")


def believed(
    first: Judgement, alone: Judgement, again: Judgement, others: Sequence[str], *, came_again: bool
) -> Judgement:
    """What to believe of a cell that was one thing among others and another alone, in a fresh process each time.

    `came_again` says whether the first verdict did, in a fresh process in which the others were measured before.

    | alone | alone again  | after the others | believed                                     |
    | G     | other than G | not tried        | flaky                                        |
    | G     | G            | as at first      | G: it is the others who leave something      |
    | G     | G            | other            | flaky: what was seen at first never came again |
    """
    seen = f"first {_told(first)}, then alone"
    if again.verdict is not alone.verdict:
        return Judgement(Verdict.FLAKY, f"{seen} {_told(alone)} and {_told(again)}")
    if came_again:
        blamed = f"after {_named(others)}, which left the process changed, it was {_told(first)}"
        return Judgement(alone.verdict, f"{alone.reason}; {blamed}")
    where = f"after {_named(others)} it did not come again" if others else "no cell had been measured before it"
    return Judgement(Verdict.FLAKY, f"{seen} twice {_told(alone)}; {where}")


def after_death(first: Judgement, alone: Judgement) -> Judgement:
    """What to believe of a cell in which a worker died, once it was measured alone in a fresh process."""
    if alone.verdict is first.verdict:
        return alone
    return Judgement(Verdict.FLAKY, f"first {_told(first)}, then alone {_told(alone)}")


def after_want(first: Judgement, alone: Judgement, others: int, neighbours: Sequence[str]) -> Judgement:
    """What to believe of a cell that ran out of memory, once it had the memory to itself in a fresh process.

    `others` are the workers that it had shared the memory with, `neighbours` what others than this run held of it.
    """
    beside = f"{others} other {'worker' if others == 1 else 'workers'}" if others else "what this process had kept"
    if alone.verdict is Verdict.OUT_OF_MEMORY:
        parts = [alone.reason, "alone as well as beside " + beside, *neighbours]
        return Judgement(alone.verdict, "; ".join(parts))
    return Judgement(alone.verdict, f"{alone.reason}; beside {beside} it ran out of memory ({first.reason})")


def recent(measured: Sequence[tuple[T, float]], seconds: float) -> list[T]:
    """The last of what was measured, in its order, that took no longer than `seconds` together."""
    chosen: list[T] = []
    for one, took in reversed(measured[-MOST_OTHERS:]):
        seconds -= took
        if seconds < 0:
            break
        chosen.append(one)
    return chosen[::-1]


def smallest_suffix(
    others: Sequence[T], comes_again: Callable[[Sequence[T]], bool], goes_on: Callable[[], bool] = lambda: True
) -> Sequence[T]:
    """The shortest end of `others`, all of which bring a verdict about, that does so too; as far as there is time."""
    too_short, enough = 0, len(others)
    while enough - too_short > 1 and goes_on():
        tried = (too_short + enough) // 2
        if comes_again(others[-tried:]):
            enough = tried
        else:
            too_short = tried
    return others[-enough:]


def _told(judgement: Judgement) -> str:
    return f"{judgement.verdict} ({judgement.reason})"


def _named(others: Sequence[str]) -> str:
    if not others:
        return "what this process had measured before"
    if len(others) <= _NAMED:
        return " and ".join(others)
    return f"{others[0]} and the {len(others) - 1} cells up to {others[-1]}"
