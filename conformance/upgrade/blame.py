"""Which of the packages that an upgrade changed brings what regressed: delta debugging over the versions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.upgrade.environments import Environment
from conformance.upgrade.hints import hints
from conformance.upgrade.trials import Trials, answer_of_all
from matrix.delta import Answer, smallest
from matrix.errors import enumerated
from matrix.releases import Pin

_OF_INSTALLERS = ("pip", "setuptools", "wheel")  # a new environment brings its own


@dataclass(frozen=True, order=True)
class Change:
    """One package that is another release on the candidate's side."""

    name: str
    before: str  # empty where it was not there
    after: str

    @property
    def pin(self) -> Pin:
        """What brings it."""
        return Pin(self.name, self.after)

    def __str__(self) -> str:
        return f"{self.name} {self.before or 'none'} -> {self.after}"


@dataclass(frozen=True)
class Blamed:
    """What brings one symptom, as far as can be told."""

    names: tuple[str, ...]  # the cells and rows that speak for it
    changes: tuple[Change, ...]  # which bring it together; empty where it cannot be told
    along: tuple[Change, ...] = ()  # what comes with them, since they need it
    tried: tuple[tuple[tuple[Change, ...], Answer, str], ...] = ()  # sets in the order asked, with what was found
    why_not: str = ""
    unproven: tuple[Change, ...] = ()  # those of the changes without which it could not be tried
    hints: tuple[str, ...] = ()


def changes_between(before: Mapping[str, str], after: Mapping[str, str], named: Sequence[str] = ()) -> list[Change]:
    """The packages that the candidate's side has in another release, or alone; those that somebody `named` last.

    They bring along what they need, and what is brought along should be suspected before it.
    """
    others = [name for name in _OF_INSTALLERS if name not in named]
    names = [name for name in after if after[name] != before.get(name) and name not in others]
    return [Change(name, before.get(name, ""), after[name]) for name in sorted(names, key=lambda n: (n in named, n))]


def blame(names: Sequence[str], changes: Sequence[Change], trials: Trials) -> Blamed:
    """The smallest set of changes that brings a symptom, over the current side.

    Args:
        names: cells and rows that show it, of those that the trials try.
        changes: all that there are; the trials know their environment, and that of none.
        trials: what is found with some of them.
    """
    names = tuple(names)
    if not changes:
        return Blamed(names, (), why_not="no package that somebody chose is another release in the candidate")
    tried: list[tuple[tuple[Change, ...], Answer, str]] = []
    before, after = trials.of(()), trials.of(change.pin for change in changes)

    def asked(some: Sequence[Change]) -> Answer:
        there = trials.of(change.pin for change in some)
        answer = answer_of_all(names, before, there, after)
        told = (tuple(some), answer, "; ".join(dict.fromkeys(map(there.said, names))))
        if told not in tried:
            tried.append(told)
        return answer

    if asked(()) is not Answer.PASSES or asked(changes) is not Answer.FAILS:
        said = [f"{side}: {told}" for side, (_, _, told) in zip(("before", "after"), tried, strict=False)]
        return Blamed(
            names, (), tried=tuple(tried), why_not=f"measured alone it does not come again ({', '.join(said)})"
        )
    found = smallest(changes, asked)
    along, blamed = _along(found.changes, trials), set(found.changes)
    # What needs the guilty brings it: that fails too, and says nothing of what brought it.
    while along and blamed.isdisjoint(along) and asked(along) is Answer.FAILS:
        found = smallest(along, asked)
        along, blamed = _along(found.changes, trials), blamed | {*found.changes}
    files = _hints(names, found.changes, trials)
    return Blamed(names, found.changes, along, tuple(tried), unproven=found.unproven, hints=files)


def blamed_lines(blamed: Blamed) -> Iterator[str]:
    """What brings it, what comes with that, and what was tried."""
    more = f" and {len(blamed.names) - 1} more" if len(blamed.names) > 1 else ""
    yield f"{blamed.names[0]}{more}: {_named(blamed) or blamed.why_not}"
    if blamed.along:
        yield f"    with it comes what it needs: {enumerated(map(str, blamed.along))}"
    yield from (f"    hint: {hint}" for hint in blamed.hints)
    for some, answer, said in blamed.tried:
        yield f"    {enumerated(change.name for change in some) or 'no change'}: {answer}: {said}"


def _named(blamed: Blamed) -> str:
    if not blamed.unproven:
        return " together with ".join(map(str, blamed.changes))
    untried = enumerated(f"without {change.name}" for change in blamed.unproven)
    return f"among {' and '.join(map(str, blamed.changes))} ({untried} it could not be tried)"


def _along(found: Sequence[Change], trials: Trials) -> tuple[Change, ...]:
    before, there = trials.environment(()).versions(), trials.environment(change.pin for change in found).versions()
    own = {change.name for change in found}
    return tuple(change for change in changes_between(before, there) if change.name not in own)


def _hints(names: Sequence[str], found: Sequence[Change], trials: Trials) -> tuple[str, ...]:
    pins = [change.pin for change in found]
    records = [trial.found(names[0]) for trial in (trials.of(pins), trials.of(()))]
    sides: tuple[Environment, Environment] = trials.environment(()), trials.environment(pins)
    return hints(records, [change.name for change in found], *sides)
