"""Ends workers that no longer end themselves: stopped, or with every alarm switched off by what they measure."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from conformance.interruption import GRACE_SECONDS
from conformance.plugin.afresh import START_SECONDS
from conformance.plugin.breadcrumbs import read_breadcrumb

_LOOKS_EVERY = 10.0  # seconds


class Watchdog:
    """Looks at where workers say they are, from a thread, until the session ends.

    Args:
        breadcrumbs: the folder in which they say it.
        cell_timeout: seconds. A worker has as much again, to measure a cell after others in a fresh process.
        has: whether the record of a cell is here: a worker may have nothing to do after it.
    """

    def __init__(self, breadcrumbs: Path, cell_timeout: float, has: Callable[[str], bool]) -> None:
        self._breadcrumbs = breadcrumbs
        self._allowed = cell_timeout + START_SECONDS + 2 * GRACE_SECONDS
        self._has = has
        self._ended = threading.Event()

    def start(self) -> None:
        """Look now and then."""
        threading.Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def overdue(self, now: float) -> Iterator[int]:
        """The processes that should have ended themselves; `now` is of the epoch."""
        for path in self._breadcrumbs.glob("gw*"):
            said = read_breadcrumb(path) or {}
            if "deadline" in said and now > said["deadline"] + self._allowed and not self._has(said["cell"]):
                yield said["process"]

    def _look(self) -> None:
        while not self._ended.wait(_LOOKS_EVERY):
            for process in self.overdue(time.time()):
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
