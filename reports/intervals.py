"""What the cells of one combination came to together, release by release, and since when: what the front tells."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Generic, TypeVar

from matrix.verdict import Verdict
from reports.causes import GRAVEST_FIRST, cause_of
from reports.document import Record
from reports.support import State, States, follows

_TROUBLES = 4  # of one combination in one release that are told one by one

T = TypeVar("T", bound=Hashable)


class CameTo(StrEnum):
    """What several cells came to in one release."""

    SUPPORTED = "supported"  # all that ran are right; some may be refused as documented
    MIXED = "wrong in part"
    WRONG = "wrong"  # none that ran is right
    REFUSED = "refused"  # none ran


@dataclass(frozen=True)
class Seen:
    """One cell in one release: its record, and the name of the run that has it."""

    state: State
    record: Record
    run: str


@dataclass(frozen=True)
class Trouble:
    """Cells of one combination that are not right in one release, for one cause."""

    state: State
    verdict: Verdict
    cause: str
    reason: str
    fault: str  # what is known of it upstream, or empty
    url: str
    cell: str  # the one that is shortest to reproduce
    run: str
    count: int


@dataclass(frozen=True)
class Outcome:
    """What the cells of one combination came to in one release."""

    supported: int
    refused: int
    wrong: int
    troubles: tuple[Trouble, ...]  # the gravest first, then the most frequent

    @property
    def came_to(self) -> CameTo:
        """All of it in a word."""
        return all_came_to(self.supported, self.refused, self.wrong)


@dataclass(frozen=True)
class Interval(Generic[T]):
    """Releases in a row that came to the same, by their places in the series."""

    came_to: T
    first: int
    last: int
    # Whether something was seen to change from the minor release before to the first.
    begins: bool


def all_came_to(supported: int, refused: int, wrong: int) -> CameTo:
    """What so many cells of each kind are together."""
    if wrong:
        return CameTo.MIXED if supported else CameTo.WRONG
    return CameTo.SUPPORTED if supported else CameTo.REFUSED


def outcome_of(cells: Iterable[Seen]) -> Outcome:
    """Of all cells that were measured in one release."""
    cells = list(cells)
    counts = Counter(cell.state for cell in cells)
    groups: dict[tuple[State, Verdict, str, str], list[Seen]] = {}
    for cell in cells:
        if cell.state is not State.SUPPORTED:
            excuse = cell.record.waived.url if cell.record.waived else ""
            groups.setdefault((cell.state, cell.record.verdict, cause_of(cell.record), excuse), []).append(cell)
    gravest = sorted(groups.items(), key=lambda item: (_gravity(item[0][1]), -len(item[1])))
    troubles = [_trouble(cause, group) for (*_, cause, _), group in gravest[:_TROUBLES]]
    return Outcome(counts[State.SUPPORTED], counts[State.REFUSED], counts[State.WRONG], tuple(troubles))


def by_release(cells: Iterable[States]) -> list[CameTo | None]:
    """Release by release, what cells came to together; None where none of them was measured."""
    found: list[CameTo | None] = []
    for states in zip(*cells, strict=True):
        counts = Counter(states)
        measured = counts.total() - counts[None]
        numbers = (counts[state] for state in (State.SUPPORTED, State.REFUSED, State.WRONG))
        found.append(all_came_to(*numbers) if measured else None)
    return found


def intervals(cells: Sequence[States], versions: Sequence[str]) -> tuple[Interval[CameTo], ...]:
    """The intervals of cells that are told together.

    A release in which other cells were measured may come to something else although nothing changed: only where one
    cell of both did, the change is said to have been seen.
    """

    def changed(before: int, after: int) -> bool:
        pairs = ((states[before], states[after]) for states in cells)
        return any(one is not None and other is not None and one is not other for one, other in pairs)

    spans = list(_spans(by_release(cells)))
    return tuple(
        Interval(came_to, first, last, before is not None and changed(before, first))
        for came_to, first, last, before in _with_neighbours(spans, versions)
    )


def intervals_of_one(states: Sequence[T | None], versions: Sequence[str]) -> tuple[Interval[T], ...]:
    """The intervals of what is one in each release, and None where it was not measured."""
    spans = list(_spans(states))
    return tuple(
        Interval(state, first, last, before is not None)
        for state, first, last, before in _with_neighbours(spans, versions)
    )


def since(interval: Interval[T], versions: Sequence[str]) -> str:
    """The first release of an interval; “≤” where it may have been so before."""
    return f"{'' if interval.begins else '≤ '}{versions[interval.first]}"


def interval_words(spans: Sequence[Interval[T]], versions: Sequence[str]) -> str:
    """Intervals in words, the newest first: “fixed since 4.53.3; still there in 4.48.3 to 4.52.4”."""
    *before, latest = spans
    words = span_words(latest, versions)
    newest = latest.last == len(versions) - 1
    told = [f"{latest.came_to} {words}{'' if newest else ', not measured since'}"]
    return "; ".join(told + [f"{one.came_to} {_in(one, versions)}" for one in reversed(before)])


def span_words(span: Interval[T], versions: Sequence[str]) -> str:
    """When it was so: “since 5.0.0”, or “in 4.48.3 to 4.57.6” where newer releases came to something else."""
    return f"since {since(span, versions)}" if span.last == len(versions) - 1 else _in(span, versions)


def _in(span: Interval[T], versions: Sequence[str]) -> str:
    first, last = versions[span.first], versions[span.last]
    return f"in {first}{'' if first == last else f' to {last}'}"


def _spans(states: Iterable[T | None]) -> Iterator[tuple[T, int, int]]:
    measured = ((state, place) for place, state in enumerate(states) if state is not None)
    for state, run in groupby(measured, key=itemgetter(0)):
        places = [place for _, place in run]
        yield state, places[0], places[-1]


def _with_neighbours(
    spans: Sequence[tuple[T, int, int]], versions: Sequence[str]
) -> Iterator[tuple[T, int, int, int | None]]:
    """Each with the release before it, or None where releases lie between that nobody measured."""
    last = None
    for state, first, end in spans:
        neighbours = last is not None and last == first - 1 and follows(versions[last], versions[first])
        yield state, first, end, last if neighbours else None
        last = end


def _gravity(verdict: Verdict) -> int:
    return GRAVEST_FIRST.index(verdict) if verdict in GRAVEST_FIRST else len(GRAVEST_FIRST)


def _trouble(cause: str, cells: Sequence[Seen]) -> Trouble:
    first = min(cells, key=lambda cell: (len(cell.record.cell), cell.record.cell))
    record, excuse = first.record, first.record.waived
    fault, url = (excuse.reason, excuse.url) if excuse else ("", "")
    return Trouble(first.state, record.verdict, cause, record.reason, fault, url, record.cell, first.run, len(cells))
