"""Which change did it: the smallest set of changes that fails, and the releases since which something else is seen.

Both ask as little as they can, since every answer is an environment that is built and a run in it, and both bear that
nothing can be told of a set or a release: it cannot be installed, or nothing runs there.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Generic, TypeVar


class Answer(StrEnum):
    """What was seen with a set of changes."""

    FAILS = "fails"
    PASSES = "passes"
    UNKNOWN = "cannot tell"


T = TypeVar("T")
S = TypeVar("S")
H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True)
class Step(Generic[T, S]):
    """Two releases in which something else is seen, and nothing that can be told between them."""

    last: T
    was: S
    first: T
    now: S
    unknown: tuple[T, ...]  # those between: each of them, or `first`, may be where it began


@dataclass(frozen=True)
class Course(Generic[T, S]):
    """What was seen in some of many releases."""

    seen: tuple[tuple[T, S | None], ...]  # oldest first; None where nothing can be told
    asked: tuple[T, ...]  # the same, in the order in which they were asked

    @property
    def steps(self) -> tuple[Step[T, S], ...]:
        """Where what is seen becomes something else."""
        found: list[Step[T, S]] = []
        last: tuple[T, S] | None = None
        unknown: list[T] = []
        for release, seen in self.seen:
            if seen is None:
                unknown.append(release)
                continue
            if last is not None and last[1] != seen:
                found.append(Step(*last, release, seen, tuple(unknown)))
            last, unknown = (release, seen), []
        return tuple(found)


@dataclass(frozen=True)
class Smallest(Generic[H]):
    """Some changes that fail together."""

    changes: tuple[H, ...]
    unproven: tuple[H, ...] = ()  # those of them without which nothing can be told: it may fail all the same


def smallest(changes: Sequence[H], asked: Callable[[Sequence[H]], Answer]) -> Smallest[H]:
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
    return Smallest(left, tuple(one for one in left if known.get(frozenset(left) - {one}) is Answer.UNKNOWN))


def course_of(releases: Sequence[T], asked: Callable[[T], S | None]) -> Course[T, S]:
    """What is seen along releases, by bisection: what is seen in two of them is taken to be seen between.

    The outermost of which anything can be told are sought first, from either end in steps that double, then halving the
    last of them. Of those between two in which something else is seen, always the one farthest from all that were asked
    is next: the middle, and where nothing can be told of that the quarters, so that a run of releases that cannot be
    installed is soon left behind.

    Args:
        releases: each once, oldest first.
        asked: what is seen in one, or None; never asked twice of the same.
    """
    seen: dict[int, S | None] = {}

    def told(place: int) -> bool:
        if place not in seen:
            seen[place] = asked(releases[place])
        return seen[place] is not None

    places = range(len(releases))
    newest = _sought(places[::-1], told)
    if newest is not None:
        _sought(places[: newest + 1], told)
    while (following := _next(seen)) is not None:
        told(following)
    return Course(
        tuple((releases[place], seen[place]) for place in sorted(seen)), tuple(releases[place] for place in seen)
    )


def _sought(places: Sequence[int], told: Callable[[int], bool]) -> int | None:
    """The first of the places of which anything can be told, if nothing can be of all before it; None where of none."""
    unknown, at = -1, 0
    while not (at < len(places) and told(places[at])):
        if at >= len(places) - 1:  # what can be told may have been leapt over
            return next(filter(told, places), None)
        unknown, at = at, min(2 * at + 1, len(places) - 1)
    while at - unknown > 1:
        middle = (at + unknown) // 2
        if told(places[middle]):
            at = middle
        else:
            unknown = middle
    return places[at]


def _next(seen: Mapping[int, object]) -> int | None:
    """The place to be asked next; None where all is known that can be."""
    told = sorted(place for place, said in seen.items() if said is not None)
    for low, high in pairwise(told):
        left = [place for place in range(low + 1, high) if place not in seen]
        if left and seen[low] != seen[high]:
            return max(left, key=lambda one: min(abs(one - other) for other in seen))
    return None


def _divided(changes: Sequence[H], pieces: int) -> list[tuple[H, ...]]:
    """The changes in order, in so many pieces of about one size."""
    bounds = [len(changes) * number // pieces for number in range(pieces + 1)]
    return [tuple(changes[begin:end]) for begin, end in pairwise(bounds)]
