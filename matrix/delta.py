"""Which change did it: the smallest set of changes that fails, and the first of many releases that does.

Both ask as little as they can, since every answer is an environment that is built and a run in it, and both bear that
nothing can be told of a set or a release: it cannot be installed, or nothing runs there.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Generic, TypeVar


class Answer(StrEnum):
    """What was seen with a set of changes, or in a release."""

    FAILS = "fails"
    PASSES = "passes"
    UNKNOWN = "cannot tell"


T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True)
class Found(Generic[T]):
    """Where among releases, oldest first, it begins to fail, as far as can be told."""

    passes: T | None  # the newest that does, before any that fails; None where none does
    fails: T | None  # the oldest after that, as far as was asked; None where none does
    unknown: tuple[T, ...]  # those between the two: nothing could be told of any, so that each may be the first
    tried: tuple[tuple[T, Answer], ...]  # in the order in which they were asked


def smallest(changes: Sequence[H], asked: Callable[[Sequence[H]], Answer]) -> tuple[H, ...]:
    """Some of the changes that fail together, of which none can be left out: Zeller's and Hildebrandt's ddmin.

    Without any of them it passes, or nothing can be told. There may be other such sets, smaller ones too, where
    changes fail independently of each other.

    Args:
        changes: which fail together, while none of them passes.
        asked: what is seen with some of them, in their order; never asked twice of the same, and not of none or all.
    """
    known: dict[frozenset[H], Answer] = {frozenset(): Answer.PASSES, frozenset(changes): Answer.FAILS}

    def fails(part: Sequence[H]) -> bool:
        key = frozenset(part)
        if key not in known:
            known[key] = asked(part)
        return known[key] is Answer.FAILS

    left, pieces = tuple(changes), 2
    while len(left) > 1:
        parts = _divided(left, pieces)
        rests = [tuple(change for change in left if change not in part) for part in parts]
        if found := next(filter(fails, parts), None):
            left, pieces = found, 2
        elif found := next(filter(fails, rests), None):
            left, pieces = found, max(2, pieces - 1)
        elif pieces < len(left):
            pieces = min(len(left), 2 * pieces)
        else:
            break
    return left


def first_that_fails(releases: Sequence[T], asked: Callable[[T], Answer]) -> Found[T]:
    """The first of the releases, oldest first, that fails, if what fails once fails from then on.

    The oldest and the newest are asked first; of those between, always the one farthest from all of which something is
    known: the middle, and where nothing can be told of that the quarters, so that a run of releases that cannot be
    installed is soon left behind.

    Args:
        releases: each once.
        asked: what is seen in one; never asked twice of the same.
    """
    tried: list[tuple[T, Answer]] = []
    low, high = -1, len(releases)  # all up to the one pass, all from the other fail
    unknown: set[int] = set()
    while left := [place for place in range(low + 1, high) if place not in unknown]:
        if not tried:
            place = 0
        elif len(tried) == 1:
            place = left[-1]
        else:
            known = (low, high, *unknown)
            place = max(left, key=lambda one: min(abs(one - other) for other in known))
        answer = asked(releases[place])
        tried.append((releases[place], answer))
        if answer is Answer.FAILS:
            high = place
        elif answer is Answer.PASSES:
            low = place
        else:
            unknown.add(place)
    return Found(
        passes=releases[low] if low >= 0 else None,
        fails=releases[high] if high < len(releases) else None,
        unknown=tuple(releases[low + 1 : high]),
        tried=tuple(tried),
    )


def _divided(changes: Sequence[H], pieces: int) -> list[tuple[H, ...]]:
    """The changes in order, in so many pieces of about one size."""
    bounds = [len(changes) * number // pieces for number in range(pieces + 1)]
    return [tuple(changes[begin:end]) for begin, end in pairwise(bounds)]
