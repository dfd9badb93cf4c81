"""Several models are measured on one machine: while a call of one is timed, the others are stopped.

To load, to compile and to judge takes minutes and may go on side by side; a call that counts takes seconds, and is to
be measured where nobody else computes.
"""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FOLDER = "CONFORMANCE_QUIET"  # the variable with the folder in which each group of processes that measures is named
_LOCK = "lock"
_AT_ONCE = 0.002  # seconds: a device that two ask answers one of them later
_IN_TURN = 20  # answers
_LONGEST = 20.0  # seconds that what was asked of the device before may take


@contextlib.contextmanager
def quiet(answered: Callable[[], object]) -> Iterator[None]:
    """Have the machine alone among those that are named in the folder; nothing is done where there is none.

    Args:
        answered: asks the device for something small, and waits for it.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        yield
        return
    with (Path(folder) / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _tell_others(Path(folder), signal.SIGSTOP)
            _settled(answered)
            yield
        finally:
            _tell_others(Path(folder), signal.SIGCONT)


@contextlib.contextmanager
def named(folder: Path, group: int) -> Iterator[None]:
    """Have a group of processes stopped while another times a call."""
    name = folder / str(group)
    name.touch()
    try:
        yield
    finally:
        name.unlink()


def release(folder: Path) -> None:
    """Have all of them go on if nobody times a call: who did may have been ended in the middle of it."""
    with (folder / _LOCK).open("a") as lock, contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _tell_others(folder, signal.SIGCONT)


def _tell_others(folder: Path, number: int) -> None:
    for name in os.listdir(folder):
        if name != _LOCK and int(name) != os.getpgrp():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(name), number)


def _settled(answered: Callable[[], object]) -> None:
    """Wait until the device answers at once, again and again: what others have asked for goes on without them."""
    until, left = time.monotonic() + _LONGEST, _IN_TURN
    while left and time.monotonic() < until:
        began = time.perf_counter()
        answered()
        left = left - 1 if time.perf_counter() - began < _AT_ONCE else _IN_TURN
