"""In which release of a package something began: bisection over its releases, on cells and rows or on a probe."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.upgrade.environments import Environment
from conformance.upgrade.trials import Trial, Trials, answer_of_all
from matrix.delta import Answer, Found, first_that_fails
from matrix.errors import UsageError
from matrix.releases import Pin

WithOthers = Callable[[Pin], Iterable[Pin]]
_OF_STATUS = {0: Answer.PASSES, 1: Answer.FAILS}
_LONGEST = 160  # characters of what a probe says last


@dataclass(frozen=True)
class Began:
    """In which release something began, as far as can be told."""

    what: str  # a cell, a row, a probe, and how many more show the same
    package: str
    found: Found[Pin]
    said: Mapping[Pin, str] = field(default_factory=dict)  # what was found in each release that was tried
    alike: str = ""  # what was found in the oldest and in the newest, where that is the same
    hints: tuple[str, ...] = ()

    @property
    def is_told(self) -> bool:
        """Whether there is a release that passes and a later one that fails."""
        return self.found.passes is not None and self.found.fails is not None


def of_names(names: Sequence[str], releases: Sequence[Pin], trials: Trials, with_others: WithOthers) -> Began:
    """The first release in which these cells and rows are as in the newest, and no more as in the oldest.

    Oldest and newest are the outermost releases of which anything can be told.

    Args:
        names: those that speak for one symptom; where they do not say the same of a release nothing can be told of it.
        releases: of one package, oldest first.
        trials: what is found with a set of releases.
        with_others: the set in which a release is tried.
    """

    def tried(pin: Pin) -> Trial:
        return trials.of(with_others(pin))

    def told(pin: Pin) -> bool:
        return tried(pin).report is not None

    said: dict[Pin, str] = {}
    oldest, newest = next(filter(told, releases), None), next(filter(told, reversed(releases)), None)

    def asked(pin: Pin) -> Answer:
        there = tried(pin)
        said[pin] = "; ".join(dict.fromkeys(map(there.said, names)))
        if oldest is None or newest is None:
            return Answer.UNKNOWN
        return answer_of_all(names, tried(oldest), there, tried(newest))

    what = f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}"
    if oldest is not None and newest is not None and asked(newest) is not Answer.FAILS:
        asked_of = tuple((pin, asked(pin)) for pin in dict.fromkeys((oldest, newest)))
        return Began(what, newest.name, Found(None, None, (), asked_of), said, alike=said[newest])
    return Began(what, releases[0].name, first_that_fails(releases, asked), said)


def of_probe(
    probe: Path,
    releases: Sequence[Pin],
    environment: Callable[[Iterable[Pin]], Environment],
    with_others: WithOthers,
) -> Began:
    """The first release in which a script ends with 1, and no more with 0; of any other status nothing can be told.

    Raises:
        UsageError: there is no such script.
    """
    if not probe.is_file():
        raise UsageError(f"--probe {probe}: no such file")
    said: dict[Pin, str] = {}

    def asked(pin: Pin) -> Answer:
        try:
            there = environment(with_others(pin))
        except UsageError as error:
            said[pin] = str(error)
            return Answer.UNKNOWN
        status, last = _run(probe, there)
        said[pin] = f"ends with {status}{f': {last}' if last else ''}"
        return _OF_STATUS.get(status, Answer.UNKNOWN)

    return Began(probe.name, releases[0].name, first_that_fails(releases, asked), said)


def began_lines(began: Began) -> Iterator[str]:
    """What was found, then what was tried, in that order."""
    found = began.found
    last, first = (pin.version if pin else "" for pin in (found.passes, found.fails))
    between = ", ".join(pin.version for pin in found.unknown)
    if last and first and not between:
        yield f"{began.what}: since {began.package} {first} ({last} was as before)"
    elif last and first:
        yield f"{began.what}: between {began.package} {last} and {first}; of {between} nothing can be told"
    elif first:
        yield f"{began.what}: in {began.package} {first} already, the oldest of which anything can be told"
    elif last:
        yield f"{began.what}: not up to {began.package} {last}, the newest of which anything can be told"
    elif began.alike:
        yield f"{began.what}: the same in the oldest and the newest {began.package}: {began.alike}"
    else:
        yield f"{began.what}: nothing can be told of any release of {began.package}"
    for pin, answer in found.tried:
        yield f"    {pin.version}: {answer}: {began.said.get(pin, '')}"
    yield from (f"    hint: {hint}" for hint in began.hints)


def _run(probe: Path, environment: Environment) -> tuple[int, str]:
    """How a script ends there, and the last line that it says."""
    try:
        ended = subprocess.run(
            [str(environment.python), str(probe.absolute())],
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
