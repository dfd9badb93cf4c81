"""While a call is timed nobody else of those that measure computes, and nobody is left stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.advising import quiet, streams
from conformance.advising.command import Say
from reports.advice import Advice


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of a group of its own, which is named in the folder."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    with quiet.named(tmp_path, process.pid):
        yield process
    process.kill()
    process.communicate()


def stopped(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process is, by what the kernel last told of it."""
    found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WCONTINUED | os.WNOWAIT)
    return found is not None and found.si_code == os.CLD_STOPPED


def test_the_others_are_stopped_for_as_long_as_it_takes(
    other: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(quiet.FOLDER, str(tmp_path))
    asked: list[bool] = []
    with quiet.named(tmp_path, os.getpgrp()), quiet.quiet(lambda: asked.append(stopped(other))):
        assert stopped(other)
        quiet.release(tmp_path)  # somebody times: nobody goes on
        assert stopped(other)
    assert len(asked) >= 20
    assert all(asked)
    assert not stopped(other)


def test_who_was_stopped_by_one_that_died_goes_on(other: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    quiet._tell_others(tmp_path, signal.SIGSTOP)
    assert stopped(other)
    quiet.release(tmp_path)
    assert not stopped(other)


def test_where_nobody_else_measures_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(quiet.FOLDER, raising=False)
    with quiet.quiet(lambda: pytest.fail("nobody is to be waited for")):
        pass


def measured(group: list[Advice], room: int, said: Say) -> None:
    """What a stream does, in place of measuring."""
    said(f"{room} bytes, {os.environ['TORCHINDUCTOR_COMPILE_THREADS']} threads, {os.getpgrp() == os.getpid()}")
    if group[0].model.name == "broken":
        raise SystemExit(3)


def test_each_has_a_share_and_a_process_of_its_own(advice: Advice, capfd: pytest.CaptureFixture[str]) -> None:
    def named(name: str, parameters: int) -> list[Advice]:
        model = advice.model.model_copy(update={"name": name, "parameters": parameters})
        return [advice.model_copy(update={"model": model})]

    groups = [named("large", 6_000_000_000), named("broken", 0), named("small", 0)]
    assert streams.rooms(groups, 1000, 2) == [800, 200, 200]
    assert streams.side_by_side(groups, measured, 1000, 2) == ["broken"]
    threads = max(1, streams.cpu_count() // 2)
    assert sorted(capfd.readouterr().out.splitlines()) == [
        f"broken: 200 bytes, {threads} threads, True",
        f"large: 800 bytes, {threads} threads, True",
        f"small: 200 bytes, {threads} threads, True",
    ]
    assert quiet.FOLDER not in os.environ
