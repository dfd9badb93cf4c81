"""What regressed in an upgrade, asked further: which package did it, and since which of its releases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from conformance.upgrade.bisect import Began, WithOthers, began_lines, of_names
from conformance.upgrade.blame import Blamed, Change, blame, blamed_lines, changes_between
from conformance.upgrade.choices import How, Question
from conformance.upgrade.environments import Environment, build, name_of
from conformance.upgrade.hints import hints
from conformance.upgrade.index import releases_of
from conformance.upgrade.sides import Say, measure
from conformance.upgrade.trials import Trials
from matrix.errors import UsageError
from matrix.releases import Pin
from matrix.rows import Family
from reports.differences import Aspect, Kind
from reports.gate import Cause, Gate

EXAMPLES = 3  # cells and rows that speak for one cause
# What shows in many cells together, or only alone on a device.
_NOT_ASKED = (Aspect.TIME, Aspect.MEMORY, Aspect.FIGURES, Aspect.PLAN)


@dataclass(frozen=True)
class Inquiry:
    """What it is asked of."""

    current: Environment
    candidate: Environment
    pins: tuple[Pin, ...]  # that --to names
    arguments: tuple[str, ...]  # of pytest
    folder: Path  # of the upgrade
    how: How
    find_links: Path | None


def inquire(inquiry: Inquiry, gate: Gate, questions: frozenset[Question], say: Say) -> None:
    """Say of each cause of regressions which package change brings it, and since which release, as far as it is asked.

    Environments and runs are kept in the folder of the upgrade, so that the same command goes on. What cannot be asked
    is said, and the next is asked.

    Raises:
        UsageError: it cannot be said what is installed on either side.
    """
    symptoms = list(symptoms_of(gate))
    for cause in gate.groups:
        if cause.kind is Kind.REGRESSION and not _names_of(cause):
            say(f"not asked: {cause.cause} ({cause.aspect}: it shows in no single cell)")
    if not symptoms:
        say("nothing regressed in a single cell or row: there is nothing to ask")
        return
    before, after = inquiry.current.versions(), inquiry.candidate.versions()
    changes = changes_between(before, after, [pin.name for pin in inquiry.pins])
    trials = _trials(inquiry, symptoms, changes, say)
    for names in symptoms:
        try:
            blamed = blame(names, changes, trials)
            if Question.BLAME in questions:
                _say_all(blamed_lines(blamed), say)
            if Question.BISECT in questions:
                _bisected(blamed, inquiry, trials, say)
        except UsageError as error:
            say(f"not asked: {names[0]}: {error}")


def symptoms_of(gate: Gate) -> Iterator[tuple[str, ...]]:
    """Of each cause of regressions the cells and rows that speak for it, the shortest to reproduce first."""
    for cause in gate.groups:
        if cause.kind is Kind.REGRESSION and (names := _names_of(cause)):
            yield names


def _names_of(cause: Cause) -> tuple[str, ...]:
    if cause.aspect in _NOT_ASKED:
        return ()
    names = [name for name in dict.fromkeys((cause.example, *cause.names)) if not name.startswith(f"{Family.CLAIM}:")]
    return tuple(names[:EXAMPLES])


def _trials(inquiry: Inquiry, symptoms: Sequence[Sequence[str]], changes: Sequence[Change], say: Say) -> Trials:
    how, place = inquiry.how.for_many, inquiry.folder / "environments"
    every = frozenset(change.pin for change in changes)
    return Trials(
        [name for names in symptoms for name in names],
        inquiry.folder / "trials",
        lambda pins: build(pins, place, how, inquiry.find_links, inquiry.current),
        measure,
        inquiry.arguments,
        known={frozenset(): inquiry.current, every: inquiry.candidate},
        ground=(name_of(inquiry.pins, how, inquiry.find_links, inquiry.current),),
        say=say,
    )


def _bisected(blamed: Blamed, inquiry: Inquiry, trials: Trials, say: Say) -> None:
    """Since which release of each of the changes it shows, while the others are as they became."""
    if not blamed.changes:
        _say_all(blamed_lines(blamed), say)
    for change in blamed.changes:
        if not change.before:
            say(f"{blamed.names[0]}: {change}: it came with the upgrade, and has no release before")
            continue
        releases, here = _releases(change, inquiry), str(Version(change.before))
        others = tuple(other.pin for other in blamed.changes if other is not change)

        def with_others(pin: Pin, here: str = here, others: tuple[Pin, ...] = others) -> Sequence[Pin]:
            return others if pin.version == here else (pin, *others)

        began = of_names(blamed.names, releases, trials, with_others)
        _say_all(began_lines(replace(began, hints=hints_of(began, blamed.names, trials, with_others))), say)


def hints_of(began: Began, names: Sequence[str], trials: Trials, with_others: WithOthers) -> tuple[str, ...]:
    """Which files to look at, of the package of which the last step was found."""
    if not began.course.steps:
        return ()
    step = began.course.steps[-1]
    before, after = (tuple(with_others(pin)) for pin in (step.last, step.first))
    records = [trials.of(side).found(names[0]) for side in (after, before)]
    return hints(records, [began.package], trials.environment(before), trials.environment(after))


def _releases(change: Change, inquiry: Inquiry) -> list[Pin]:
    """Those from one side of the change to the other, oldest first.

    Raises:
        UsageError: it cannot be said which there are.
    """
    oldest, newest = sorted(map(Version, (change.before, change.after)))
    available = releases_of(change.name, inquiry.current.python, inquiry.find_links)
    between = [one for one in available if oldest < one < newest]
    return [Pin(change.name, str(one)) for one in (oldest, *between, newest)]


def _say_all(lines: Iterator[str], say: Say) -> None:
    for line in lines:
        say(line)
