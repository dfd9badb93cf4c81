"""Processes that share out work: what they have done is kept, whatever becomes of the rest."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest

from conformance.notes import Notes
from conformance.pool import Work, campaign, processes, results
from matrix.axes import Dtype
from matrix.errors import UsageError
from reports.dials import DialTrial
from tests.builders import make_stack


def done(share: int) -> int:
    """In a process of a pool: what is done, what fails, or what interrupts who waits."""
    if share == 1:
        raise ValueError("of the second share")
    if share == 3:
        os.kill(os.getppid(), signal.SIGINT)
        signal.sigtimedwait([], 60)  # and no longer, lest the test wait for one that is not heard
    return share


@pytest.mark.parametrize("shares", [(0, 1, 2), (0, 1, 2, 3)])
def test_what_fails_or_is_interrupted_loses_nothing_of_the_rest(
    shares: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    pool = processes(1, 0)
    assert results(pool, {f"share {share}": pool.submit(done, share) for share in shares}) == [0, 2]
    said = capsys.readouterr().err
    assert said.startswith("share 1:\n")
    assert "in done" in said
    assert "ValueError: of the second share" in said


def unusable(share: int) -> int:
    """In a process of a pool: what a user asked for and cannot have."""
    raise UsageError(f"{share} does not answer")


def test_what_a_user_cannot_have_is_told_them() -> None:
    pool = processes(1, 0)
    with pytest.raises(UsageError, match="7 does not answer"):
        results(pool, {"seven": pool.submit(unusable, 7)})


def gpu(all_here: Barrier) -> str:
    """In a process of a pool: with which GPU it was started, whatever it has been told since; each waits for all."""
    all_here.wait(60)
    lines = Path("/proc/self/environ").read_bytes().split(b"\0")
    return dict(line.split(b"=", 1) for line in lines if line)[b"CUDA_VISIBLE_DEVICES"].decode()


@pytest.mark.parametrize(
    ("gpus", "told", "seen"),
    [
        (2, "5, 7", ["5", "5", "7"]),
        (2, None, ["0", "0", "1"]),
        (2, "5,7,9", ["5", "5", "7"]),
        (1, "5", ["5"] * 3),
        (0, "", [""] * 3),
    ],
)
def test_each_process_sees_the_next_gpu_before_it_imports_anything(
    gpus: int, told: str | None, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if told is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    with multiprocessing.Manager() as manager, processes(3, gpus) as pool:
        all_here = manager.Barrier(3)
        found = [one.result() for one in [pool.submit(gpu, all_here) for _ in range(3)]]
    assert sorted(found) == seen
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == told


def trial(part: str, number: int) -> DialTrial:
    return DialTrial(architecture=part, dtype=Dtype.FLOAT16, seed=number, cell="", seen=False, readings=[])


def three(part: str, known: Sequence[DialTrial]) -> Iterator[DialTrial]:
    """In a process of a pool: three trials, before the last of which whoever waits is interrupted, but once."""
    for number in range(len(known), 3):
        if number == 2 and part == "second" and not known:
            os.kill(os.getppid(), signal.SIGINT)
            signal.sigtimedwait([], 60)  # and no longer, lest the test wait for one that is not heard
        yield trial(part, number)


def test_what_was_measured_before_an_interruption_is_not_measured_again(tmp_path: Path) -> None:
    notes = Notes.beside(tmp_path / "campaign.json")
    work = [Work(name, DialTrial, partial(three, name)) for name in ("first", "second", "first")]
    with notes.held("campaign", make_stack(), ""):
        found = campaign(processes(1, 0), work, notes)
        assert found == ([trial("first", number) for number in range(3)], 1), "of the second a part would mislead"
        assert notes.read()["second"].of(DialTrial) == [trial("second", 0), trial("second", 1)]
        found, left = campaign(processes(1, 0), work, notes)
        assert found == [trial(part, number) for part in ("first", "second") for number in range(3)]
        assert left == 0


def test_processes_end_with_who_waits_for_them() -> None:
    script = (
        "from conformance.pool import processes; import os, signal, time\n"
        "pool = processes(1, 0); pool.submit(os.getpid).result()\n"
        "pool.submit(time.sleep, 600); os.kill(os.getpid(), signal.SIGKILL)"
    )
    # Until nobody holds the pipe any more.
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120, check=False)
    assert ran.returncode == -signal.SIGKILL
