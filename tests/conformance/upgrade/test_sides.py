"""A side is a run of pytest in its environment: kept when it is finished, gone on with when it was cut off."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.plugin.forkserver import PRELOAD
from conformance.plugin.progress import EVERY_SECONDS, Progress
from conformance.upgrade import sides
from conformance.upgrade.environments import Current, Environment
from conformance.upgrade.sides import check_versions, finished, measure
from matrix.errors import UsageError
from matrix.shard import Shard
from reports.document import Report
from reports.reading import read_report
from tests.builders import ended, make_run

CELLS = ("gpt2-float32-eager-prefill", "gpt2-float32-sdpa-prefill", "llama-float32-eager-prefill")
ARGUMENTS = ("-p", "tests.saboteur", "conformance/test_cells.py", "-n", "1", *(f"--cell={cell}" for cell in CELLS))


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD, "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    sabotage(monkeypatch)


def sabotage(monkeypatch: pytest.MonkeyPatch, **what: str) -> None:
    monkeypatch.setenv("SABOTAGE", json.dumps({CELLS[int(place[1:])]: how for place, how in what.items()}))


def verdicts(report: Report) -> dict[str, str]:
    return {record.cell: record.verdict.value for record in report.records}


def test_a_killed_side_goes_on_and_a_finished_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch, _2="SIGKILL")
    with pytest.raises(UsageError, match=r"nothing says that it ended; 1 of 3 .* the same command goes on"):
        measure(Current(), tmp_path / "out", ARGUMENTS)
    assert finished(tmp_path / "out") is None
    with pytest.raises(UsageError, match=r"pytest ended with 4: --resume .*: it is not the same run: seed was 0, is 1"):
        measure(Current(), tmp_path / "out", (*ARGUMENTS, "--seed=1"))
    sabotage(monkeypatch)
    whole = measure(Current(), tmp_path / "out", ARGUMENTS)
    assert verdicts(whole) == dict.fromkeys(CELLS, "supported")
    assert len(whole.run.resumed) == 1
    monkeypatch.setattr(sides, "logged", lambda *_: pytest.fail("measured again"))
    assert measure(Current(), tmp_path / "out", ARGUMENTS) == whole


@pytest.fixture
def _in_the_background() -> Iterator[None]:
    """A shell starts what is to run there deaf to SIGINT."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_in_the_background")
def test_an_interrupted_side_writes_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch, _2=f"wait for {tmp_path / 'never'}")
    processes: list[subprocess.Popen[bytes]] = []

    def interrupted(output: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
        processes.append(process)
        records = output.parent / "records.jsonl"
        while process.poll() is None and not (records.is_file() and CELLS[0] in records.read_text().partition("\n")[2]):
            time.sleep(0.05)
        raise KeyboardInterrupt
        yield ""

    monkeypatch.setattr(sides, "following", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(Current(), tmp_path / "out", ARGUMENTS)
    assert processes[0].returncode == pytest.ExitCode.INTERRUPTED
    assert "SIGTERM" in read_report(tmp_path / "out").cut_off
    assert finished(tmp_path / "out") is None


# Deaf to SIGTERM, with a child that holds its output open for as long as it lives.
DEAF = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("started", flush=True)
signal.pause()
"""


def test_what_a_run_started_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "_PATIENCE", 0.0)
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"started\n"
        sides._end(process)
        ended, _, _ = select.select([process.stdout], [], [], 30)  # its end can be read once nobody has it open
        assert ended
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_what_pytest_refuses_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out: pytest ended with 4: --require 'mood': allowed are "):
        measure(Current(), tmp_path / "out", (*ARGUMENTS, "--require=mood"))


def test_the_run_is_in_the_environment_and_of_the_shard(tmp_path: Path) -> None:
    info = tmp_path / "packages" / "peft-99.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: peft\nVersion: 99.0\n", encoding="utf-8")
    environment = Environment(Current().python, tmp_path / "packages")
    report = measure(environment, tmp_path / "out", ARGUMENTS, Shard(1, 2))
    assert report.run.stack.versions["peft"] == environment.versions()["peft"] == "99.0"
    assert str(report.run.shard) == "1/2"
    assert 0 < len(report.run.planned) < len(CELLS)
    check_versions(report, environment.versions(), "candidate")


def test_a_side_that_measured_another_release_is_refused() -> None:
    run = make_run(CELLS[0])
    report = Report(run=run, finished=ended().finished, counts={}, waived=0, records=[])
    versions = dict(run.stack.versions)
    check_versions(report, versions | {"idna": "1"}, "candidate")
    here = versions["transformers"]
    with pytest.raises(UsageError, match=rf"^the candidate measured transformers {here}, not 99\.0$"):
        check_versions(report, versions | {"transformers": "99.0"}, "candidate")
    del versions["transformers"]
    with pytest.raises(UsageError, match=rf"^the current measured transformers {here}, not absent$"):
        check_versions(report, versions, "current")


def test_how_far_a_run_is_is_heard() -> None:
    progress = Progress(planned=4_000)
    progress.came(fails=False, now=0.0)
    told = progress.came(fails=True, now=EVERY_SECONDS)
    assert told is not None
    assert sides._PROGRESS.findall(f"....\n{told}\n") == [told]


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        ((), ["-n", "auto"]),
        (("-n", "2"), []),
        (("-n2",), []),
        (("--numprocesses=2",), []),
        (("-k", "x"), ["-n", "auto"]),
    ],
)
def test_workers_are_as_many_as_suit_unless_somebody_says(arguments: tuple[str, ...], added: list[str]) -> None:
    assert sides._workers(arguments) == added
