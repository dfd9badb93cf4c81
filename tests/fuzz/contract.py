"""What every parser owes to any input: it takes it and is right to, or says no in one short line, within seconds."""

import faulthandler
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from matrix.errors import UsageError

LONGEST_MESSAGE = 2_000  # characters


class Ending(StrEnum):
    """How a parser dealt with an input."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RAISED = "other exception"
    HUNG = "hang"
    RUBBISH = "rubbish accepted"
    LOUD = "bad message"  # of a refusal: several lines, too long, or with control characters

    @property
    def is_kept(self) -> bool:
        """Whether it is what the contract says."""
        return self in (Ending.ACCEPTED, Ending.REFUSED)


class Rubbish(AssertionError):
    """What was accepted does not mean what was given."""


def must(holds: object, what: str) -> None:
    """Hold what was accepted to what must be true of it."""
    if not holds:
        raise Rubbish(what)


@dataclass(frozen=True)
class Parser:
    """One parser."""

    name: str
    share: int  # of the inputs, in thousandths
    make: Callable[[random.Random], Any]  # an input
    parse: Callable[[Any], None]  # takes it, refuses it with a UsageError, or raises Rubbish


class _TooLong(BaseException):
    """No Exception: a parser that catches those must not go on for ever."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    ending: Ending
    said: str = ""
    seconds: float = 0.0

    @property
    def kind(self) -> tuple[Ending, str]:
        """What one failure in many has in common with others: the type of the exception, or how it begins."""
        return self.ending, self.said.partition(":")[0][:40]


@dataclass(frozen=True)
class Failure:
    """An input with which the contract was broken."""

    given: Any
    outcome: Outcome


@dataclass
class Tally:
    """What became of all inputs of a parser."""

    name: str
    counts: dict[Ending, int] = field(default_factory=lambda: dict.fromkeys(Ending, 0))
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list)  # the first of each kind

    def add(self, given: Any, outcome: Outcome) -> None:
        """Count one."""
        self.counts[outcome.ending] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        if not outcome.ending.is_kept and outcome.kind not in {failure.outcome.kind for failure in self.failures}:
            self.failures.append(Failure(given, outcome))


def held_to_the_contract(parse: Callable[[Any], None], given: Any, limit: float) -> Outcome:
    """What becomes of an input.

    Args:
        parse: takes it, or raises; what it has taken wrongly it raises Rubbish for.
        given: the input.
        limit: seconds after which it hangs. One that hangs in C, where no signal is heard, ends the process with a
            traceback in ten times as many.
    """

    def interrupt(number: int, frame: Any) -> None:
        raise _TooLong

    previous = signal.signal(signal.SIGALRM, interrupt)
    faulthandler.dump_traceback_later(10 * limit, exit=True, file=sys.__stderr__)
    began = time.perf_counter()
    try:
        signal.setitimer(signal.ITIMER_REAL, limit, limit)  # again and again, should somebody swallow it
        try:
            ending, said = _ended(parse, given)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TooLong:  # on the way in or out
        ending, said = Ending.HUNG, ""
    finally:
        signal.signal(signal.SIGALRM, previous)
        faulthandler.cancel_dump_traceback_later()
    return Outcome(ending, said, time.perf_counter() - began)


def _ended(parse: Callable[[Any], None], given: Any) -> tuple[Ending, str]:
    try:
        parse(given)
    except UsageError as error:
        said = str(error)
        return (Ending.REFUSED if is_short_line(said) else Ending.LOUD), said
    except Rubbish as error:
        return Ending.RUBBISH, str(error)
    except _TooLong:
        return Ending.HUNG, ""
    except BaseException as error:  # pytest's and Rust's are no Exceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        return Ending.RAISED, f"{type(error).__name__}: {error}"
    return Ending.ACCEPTED, ""


def is_short_line(text: str) -> bool:
    """Whether it is one line of moderate length that steers no terminal."""
    return 0 < len(text) < LONGEST_MESSAGE and text.isprintable()


def smallest(given: Any, fails: Callable[[Any], bool], tries: int = 400) -> Any:
    """A part of the input that still fails: pieces are left out, from halves to single ones, as long as it does."""
    piece = max(1, len(given) // 2)
    while tries and len(given) > 1:
        for at in range(0, len(given), piece):
            shorter = given[:at] + given[at + piece :]
            tries -= 1
            if fails(shorter):
                given = shorter
                break
            if not tries:
                return given
        else:
            if piece == 1:
                return given
            piece //= 2
    return given
