"""What ends a measurement from outside. Apart from the engine, so that raising it imports no torch."""

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reports.files import write_over

# After the soft limit a cell may still answer to an exception; after the grace the process ends.
GRACE_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class CellTimeout(Exception):
    """Raised into a run that takes too long."""


class DeviceLost(BaseException):
    """The CUDA context is beyond use. No Exception: nobody should catch it and try the next example."""


class LastWords:
    """What a process was about to do, in a file that outlives it."""

    def __init__(self) -> None:
        self.path: Path | None = None

    def say(self, words: str) -> None:
        """Write it down, where there is a place for it."""
        if self.path is not None:
            with contextlib.suppress(OSError):  # a full disk is no fault of what is measured
                write_over(self.path, words.encode())


LAST_WORDS = LastWords()


class ProcessEnded(BaseException):
    """Something wanted to end the process at once. No Exception: what calls `os._exit` expects nothing after it."""


class Interrupted(KeyboardInterrupt):
    """Somebody asked this process to stop. A KeyboardInterrupt that a library raises is a measurement like others."""


@contextlib.contextmanager
def process_kept() -> Iterator[None]:
    """While entered `os._exit` raises ProcessEnded here, SIGINT raises Interrupted, and nothing forked here gets out.

    A run without workers would end with the status that a cell chose, 0 for one, and without a report; a copy of this
    process would tell of the cell a second time, and go on with the next.
    """
    usual, here = os._exit, os.getpid()

    def refuse(status: int) -> None:
        if os.getpid() != here:
            usual(status)
        raise ProcessEnded(f"os._exit({status}) was called")

    def interrupt(signum: int, frame: Any) -> None:
        raise Interrupted

    os._exit = refuse  # type: ignore[assignment]
    asked = signal.getsignal(signal.SIGINT)
    listens = callable(asked) and threading.current_thread() is threading.main_thread()
    if listens:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        os._exit = usual
        if os.getpid() != here:
            usual(1)
        if listens:
            signal.signal(signal.SIGINT, asked)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise CellTimeout into the block after `seconds`; end the process if that does not help."""

    def interrupt(signum: int, frame: Any) -> None:
        raise CellTimeout(f"no answer after {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        faulthandler.cancel_dump_traceback_later()


def end_with_parent() -> None:
    """Have a process that is about to start end with this one, after which nobody is left who would end it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
