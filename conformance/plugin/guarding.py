"""What a session is guarded against: cells that take their process down, and those who end it from outside."""

import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from conformance.plugin.forkserver import ROOT
from matrix.errors import UsageError

# Those in which xdist hands out a test at a time. In the others it runs one that crashed again and again, or waits for
# it without end, and gives up the rest.
_MODES = ("no", "load", "worksteal")
_LOOKING = ("collectonly", "showfixtures", "show_fixtures_per_test", "cacheshow", "markers")
_INTERACTIVE = ("usepdb", "trace")
# So many processes in a row that die before they have measured anything are no fault of a cell.
_IDLE_DEATHS = 10


def measures(config: pytest.Config) -> bool:
    """Whether a session runs cells or rows, rather than tests of the harness, or only looks at what there is."""
    if any(getattr(config.option, name, False) for name in _LOOKING):
        return False
    suite = ROOT / "conformance"
    places = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return any(place.is_relative_to(suite) or suite.is_relative_to(place) for place in places)


def in_workers(option: Any) -> None:
    """Have a session run in one worker at least: the process that writes the report runs nothing that may kill it.

    But for a debugger, which needs the terminal, and where there is no xdist.

    Raises:
        UsageError: tests would be handed out in a way that loses some when a worker dies.
    """
    if not hasattr(option, "numprocesses") or any(getattr(option, name, False) for name in _INTERACTIVE):
        return
    if option.dist not in _MODES:
        raise UsageError(f"--dist {option.dist}: loses cells when a worker dies; use load or worksteal")
    if not option.numprocesses and not option.tx:
        option.numprocesses = 1
    if option.dist == "no" and (option.numprocesses or option.tx):
        option.dist = "worksteal"  # contiguous blocks: the plan is ordered by architecture, so caches stay warm


def check_spelling(arguments: Iterable[object]) -> None:
    """Raise UsageError for an argument that no worker can be told: a name that this Python cannot read as text."""
    for argument in map(str, arguments):
        if not argument.isascii() and argument.encode("utf-8", "ignore").decode() != argument:
            raise UsageError(f"{argument}: Python reads names as {sys.getfilesystemencoding()} here; set PYTHONUTF8=1")


def until_all_have_run(option: Any) -> None:
    """Replace each worker that dies, unless the user said how many; `IdleDeaths` ends what has no end."""
    if getattr(option, "maxworkerrestart", "") is None:
        option.maxworkerrestart = str(2**31)


class IdleDeaths:
    """Counts the workers that died one after the other with no record between them."""

    def __init__(self) -> None:
        self._died = 0
        self._in_all = 0

    def measured(self) -> None:
        """A record came."""
        self._died = 0

    def died(self, workers: int) -> str:
        """A worker is gone; what to say if it is time to give up, or empty. `workers` may all die of one thing."""
        self._died += 1
        self._in_all += 1
        if self._died <= _IDLE_DEATHS + 4 * workers:
            return ""
        return f"{self._died} workers in a row died before they had measured anything"

    def beyond(self, most: str | None) -> str:
        """What to say if so many died that --max-worker-restart, or None, had none replaced any more, or empty."""
        if most is None or self._in_all <= int(most):
            return ""
        return f"{self._in_all} of its workers died, of which --max-worker-restart={most} let no more be replaced"


def ignore_signals() -> None:
    """Let nobody end this process any more, but by SIGKILL."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _hear_nothing)


def _hear_nothing(number: int, frame: Any) -> None:
    """Not SIG_IGN: of a signal that has come by then, Python would tell that in a traceback."""


def heed_signals(told: Callable[[str], None], *, debugging: bool = False) -> None:
    """Have SIGTERM and SIGHUP end the session as SIGINT does, with its report; `told` hears the name of the signal.

    The first counts: whoever stops a job presses Ctrl-C and sends SIGTERM at once. While `debugging` a Ctrl-C ends no
    session, but leads to the debugger.
    """

    def stop(number: int, frame: Any) -> None:
        for each in heeded:
            signal.signal(each, _hear_nothing)  # the report is written once
        told(signal.Signals(number).name)
        raise KeyboardInterrupt

    ending = [signal.SIGTERM, signal.SIGHUP, *([] if debugging else [signal.SIGINT])]
    heeded = [each for each in ending if signal.getsignal(each) is not signal.SIG_IGN]
    for each in heeded:
        signal.signal(each, stop)
