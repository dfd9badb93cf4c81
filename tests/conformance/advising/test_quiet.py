"""While a call is timed nobody else of those that measure computes, and nobody is left stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.advising import quiet


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of a group of its own, which is named in the folder."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    with quiet.named(tmp_path, process.pid):
        yield process
    process.kill()
    process.communicate()


def stopped(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process is, by what the kernel tells of it."""
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T"


def comes(told: Callable[[], bool]) -> bool:
    """Whether that is so before long: a signal takes effect a little after it was sent."""
    until = time.monotonic() + 10
    while not told():
        if time.monotonic() > until:
            return False
        os.sched_yield()
    return True


class Clock:
    """A time in which answers take as long as they are said to."""

    def __init__(self, left: list[float]) -> None:
        self.left, self._now = left, 0.0

    def passes(self) -> None:
        """One answer."""
        self._now += self.left.pop(0)

    def perf_counter(self) -> float:
        """As time's."""
        return self._now

    monotonic = perf_counter


def test_the_others_are_stopped_for_as_long_as_it_takes(
    other: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(quiet.FOLDER, str(tmp_path))
    asked: list[bool] = []
    with quiet.named(tmp_path, os.getpgrp()), quiet.quiet(lambda: asked.append(comes(lambda: stopped(other)))):
        quiet.release(tmp_path)  # somebody times: nobody goes on
        assert stopped(other)
    assert len(asked) >= 20
    assert all(asked)
    assert comes(lambda: not stopped(other))


def test_what_the_device_is_busy_with_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(quiet.FOLDER, str(tmp_path))
    monkeypatch.setattr(quiet, "_IN_TURN", 3)
    monkeypatch.setattr(quiet, "time", clock := Clock([0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]))
    with quiet.quiet(clock.passes):
        assert clock.left == []


def test_who_was_stopped_by_one_that_died_goes_on(other: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    os.killpg(other.pid, signal.SIGSTOP)
    assert comes(lambda: stopped(other))
    quiet.release(tmp_path)
    assert comes(lambda: not stopped(other))


def test_where_nobody_else_measures_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(quiet.FOLDER, raising=False)
    with quiet.quiet(lambda: pytest.fail("nobody is to be waited for")):
        pass
