"""What differs between two sides, as data, and differences gathered by what explains them."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reports.noise import Pace
from reports.words import of_any_model, words_of


class Kind(StrEnum):
    """What a difference is to whoever upgrades, the worst first."""

    REGRESSION = "regression"
    CHANGE = "change"
    IMPROVEMENT = "improvement"
    ADDED = "added"  # not measured before
    DELETED = "deleted"  # not measured any more


class Aspect(StrEnum):
    """What of a cell or row differs."""

    VERDICT = "verdict"
    FALLBACK = "fallback"  # something else runs than what was asked for
    KNOWN = "known"  # a verdict that is worse, by a fault that is reported upstream
    UNAVAILABLE = "unavailable"  # it needs what is not in the environment
    EXPECTATION = "expectation"  # a documented error is gone, and what runs now is right
    KERNELS = "kernels"
    DTYPE = "dtype"  # a library keeps other parameters in float32
    ACCURACY = "accuracy"
    MESSAGE = "message"  # what a library says when it refuses
    TIME = "time"
    MEMORY = "memory"
    FIGURES = "figures"  # of a claim
    DIALS = "dials"  # how far a part of attention is from what golden computes
    ADVICE = "advice"  # what was advised for a model (python -m matrix advise)
    EAGER = "eager"  # what the yardstick of all cells itself computes, generates, saves
    PLAN = "plan"  # what is measured at all


# Of these no library speaks, and numbers and order tell: kernels `flash -> math`, gemma2 and gemma3, head 0.
_OWN_WORDS = (
    Aspect.KERNELS,
    Aspect.DTYPE,
    Aspect.ACCURACY,
    Aspect.TIME,
    Aspect.MEMORY,
    Aspect.FIGURES,
    Aspect.DIALS,
    Aspect.ADVICE,
    Aspect.FALLBACK,
)


@dataclass(frozen=True)
class Bands:
    """What differs by less is no difference. Of time and memory: beyond what repeated runs of one side differ by."""

    accuracy_factor: float = 1.5  # of the ratio of error to bound
    accuracy_step: float = 0.25
    time_factor: float = 1.1
    memory_factor: float = 1.1


@dataclass(frozen=True)
class Difference:
    """One cell or row that is not what it was."""

    kind: Kind
    aspect: Aspect
    name: str
    found: tuple[str, ...]  # what differs, in words with both values
    causes: tuple[str, ...]  # what may explain it, the likeliest first; at least one
    command: str  # that shows it again, or empty


@dataclass(frozen=True)
class Doubt:
    """A cell or row of which it cannot be told whether it got worse."""

    name: str
    why: str


@dataclass(frozen=True)
class Diff:
    """All that differs between two sides."""

    versions: tuple[tuple[str, str, str], ...]  # library or device, before, after
    differences: tuple[Difference, ...]  # the worst kind first
    paces: tuple[Pace, ...] = ()  # of the backends with enough cells that ran in both
    doubts: tuple[Doubt, ...] = ()
    compared: tuple[str, ...] = ()  # the cells and rows of which both sides measured something

    @property
    def counts(self) -> Counter[Kind]:
        """How many differences there are of each kind."""
        return Counter(one.kind for one in self.differences)


@dataclass(frozen=True)
class Group:
    """Differences of one kind that one cause explains."""

    kind: Kind
    aspect: Aspect
    cause: str
    example: Difference  # the one that is shortest to reproduce
    differences: tuple[Difference, ...]


def groups(differences: Sequence[Difference]) -> list[Group]:
    """The differences by kind and cause: the fewest causes that explain all of a kind, the most frequent first."""
    return [group for kind in Kind for group in _explained(kind, [one for one in differences if one.kind is kind])]


def _explained(kind: Kind, differences: Sequence[Difference]) -> Iterator[Group]:
    """Again and again the cause that explains most of what is left; among equals the likelier one, then the first."""
    explains: dict[tuple[Aspect, frozenset[str]], list[int]] = {}
    ranks: dict[tuple[Aspect, frozenset[str]], int] = {}
    for place, one in enumerate(differences):
        for rank, cause in enumerate(one.causes):
            key = _key(one, cause)
            explains.setdefault(key, []).append(place)
            ranks.setdefault(key, rank)
    left = set(range(len(differences)))
    queue = [(-len(places), ranks[key], places[0], n, key) for n, (key, places) in enumerate(explains.items())]
    heapq.heapify(queue)
    while queue and left:
        count, rank, _, number, key = heapq.heappop(queue)
        places = [place for place in dict.fromkeys(explains[key]) if place in left]
        if len(places) < -count:
            if places:
                heapq.heappush(queue, (-len(places), rank, places[0], number, key))
            continue
        left.difference_update(places)
        gathered = tuple(differences[place] for place in places)
        example = min(gathered, key=lambda one: len(one.name))
        cause = next(cause for cause in example.causes if _key(example, cause) == key)
        yield Group(kind, key[0], " ".join(cause.split()), example, gathered)


def _key(one: Difference, cause: str) -> tuple[Aspect, frozenset[str]]:
    """What is the same for one cause: of a library's words those that count, of the suite's own all, in their order."""
    return one.aspect, frozenset([cause]) if one.aspect in _OWN_WORDS else words_of(of_any_model(cause))
