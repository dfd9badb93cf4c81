"""Since which release of a package something is seen: bisection over its releases, on cells and rows or on a probe."""

import os
import subprocess
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from conformance.upgrade.environments import Environment
from conformance.upgrade.trials import Trial, Trials, answer_of
from matrix.delta import Answer, Course, Step, course_of
from matrix.errors import UsageError
from matrix.releases import Pin
from reports.standing import Standing

WithOthers = Callable[[Pin], Iterable[Pin]]
_OF_STATUS = {0: Answer.PASSES, 1: Answer.FAILS}
_LONGEST = 160  # characters of what a probe says last
_IMPORTS = Path(__file__).with_name("imports.py")


@dataclass(frozen=True)
class Began:
    """Since which releases something is seen, as far as can be told."""

    what: str  # a cell, a row, a probe, and how many more show the same
    package: str
    course: Course[Pin, Hashable]
    said: Mapping[Pin, str] = field(default_factory=dict)  # what was found in each release that was tried
    hints: tuple[str, ...] = ()  # of the last step


def of_names(names: Sequence[str], releases: Sequence[Pin], trials: Trials, with_others: WithOthers) -> Began:
    """Since which releases these cells and rows stand where they stand.

    Where the oldest and the newest of which anything can be told stand alike, kernels and messages are looked at.

    Args:
        names: those that speak for one symptom.
        releases: of one package, oldest first.
        trials: what is found with a set of releases.
        with_others: the set in which a release is tried.
    """
    said: dict[Pin, str] = {}

    def tried(pin: Pin) -> Trial:
        trial = trials.of(with_others(pin))
        said[pin] = "; ".join(dict.fromkeys(map(trial.said, names)))
        return trial

    def stands(pin: Pin) -> Hashable:
        standings = tuple(map(tried(pin).standing, names))
        return None if Standing.UNKNOWN in standings else standings

    what = f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}"
    course = course_of(releases, stands)
    told = [pin for pin, standings in course.seen if standings is not None]
    if told and not course.steps:
        oldest, newest = tried(told[0]), tried(told[-1])

        def answers(pin: Pin) -> Hashable:
            found = tuple(answer_of(name, oldest, tried(pin), newest) for name in names)
            return None if Answer.UNKNOWN in found else found

        if answers(told[-1]) is not None:  # else they are alike in everything
            course = course_of(releases, answers)
    return Began(what, releases[0].name, course, said)


def of_probe(
    probe: Path,
    releases: Sequence[Pin],
    environment: Callable[[Iterable[Pin]], Environment],
    with_others: WithOthers,
) -> Began:
    """Since which releases a script ends with 1, and with 0; of any other status nothing can be told.

    Nor can it where the package cannot be imported: a script ends with 1 at whatever it does not expect.

    Raises:
        UsageError: there is no such script.
    """
    if not probe.is_file():
        raise UsageError(f"--probe {probe}: no such file")
    said: dict[Pin, str] = {}

    def answers(pin: Pin) -> Hashable:
        try:
            there = environment(with_others(pin))
        except UsageError as error:
            said[pin] = str(error)
            return None
        status, last = _run(("-P", str(_IMPORTS), pin.name), there)
        if status:
            said[pin] = f"{pin.name} cannot be imported: {last}"
            return None
        status, last = _run((str(probe.absolute()),), there)
        said[pin] = f"{_OF_STATUS.get(status, f'ends with {status}')}{f': {last}' if last else ''}"
        return _OF_STATUS.get(status)

    return Began(probe.name, releases[0].name, course_of(releases, answers), said)


def began_lines(began: Began) -> Iterator[str]:
    """The steps, then what was tried, oldest first."""
    told = [pin for pin, seen in began.course.seen if seen is not None]
    for step in began.course.steps:
        yield f"{began.what}: {_step(step, began)}"
    if not told:
        yield f"{began.what}: nothing can be told of any release of {began.package}"
    elif not began.course.steps:
        seen = f"the same in {began.package} {told[0].version} and {told[-1].version}" if len(told) > 1 else told[0]
        yield f"{began.what}: {seen}: {began.said[told[-1]]}"
    yield from (f"    hint: {hint}" for hint in began.hints)
    tried = [(pin.version, began.said[pin]) for pin, _ in began.course.seen]
    for said, same in groupby(tried, key=lambda one: one[1]):
        yield f"    {', '.join(version for version, _ in same)}: {said}"
    yield f"    tried {len(tried)}: {', '.join(pin.version for pin in began.course.asked)}"


def _step(step: Step[Pin, Hashable], began: Began) -> str:
    was, now = began.said[step.last], began.said[step.first]
    if not step.unknown:
        return f"since {step.first}: {now} (in {step.last.version}: {was})"
    between = ", ".join(pin.version for pin in step.unknown)
    return f"since {step.first} at the latest: {now} (in {step.last.version}: {was}; of {between} nothing can be told)"


def _run(script: Sequence[str], environment: Environment) -> tuple[int, str]:
    """How a script ends there, and the last line that it says."""
    try:
        ended = subprocess.run(
            [str(environment.python), *script],
            env=environment.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return os.EX_NOINPUT, error.strerror or str(error)
    lines = ended.stdout.strip().splitlines()
    return ended.returncode, lines[-1][:_LONGEST] if lines else ""
