"""How many workers there are, what one does with what it is told, and what is said of one that died."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from conformance.plugin import workers
from conformance.plugin.hooks import SETTINGS, pytest_report_header
from conformance.plugin.workers import WorkerInput, auto_workers, crash_record, no_workers_are_asked_for
from matrix.errors import UsageError
from matrix.stack import Gpu, Stack
from tests.builders import ARCHITECTURES, cuda_stack, make_stack


@pytest.mark.parametrize(("own", "compiling"), [(None, "3"), ("7", "7")])
def test_a_worker_computes_and_compiles_with_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, own: str | None, compiling: str
) -> None:
    """Unless the user says how many processes compile."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "TORCHINDUCTOR_COMPILE_THREADS"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    if own is not None:
        monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", own)
    stack, taken = make_stack(), list[tuple[int, int]]()
    monkeypatch.setattr("conformance.plugin.workers.take_threads", lambda *counts: taken.append(counts))
    told = WorkerInput(TypeAdapter(Stack).dump_json(stack).decode(), "out", "crumbs", "", "", threads=3, gpu=None)
    assert told.apply() == stack
    assert taken == [(3, int(compiling))]
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == compiling


@pytest.mark.parametrize(("told", "minutes"), [("0", 0.0), ("30", 30.0), ("0.5", 0.5), ("1440", 1440.0)])
def test_workers_are_forked_from_a_process_that_stays_for_as_long_as_was_said(
    monkeypatch: pytest.MonkeyPatch, told: str, minutes: float
) -> None:
    def launched(given: float) -> list[str]:
        assert given == minutes
        return ["python", "launch.py"]

    monkeypatch.setattr(workers, "launcher", launched)
    option = SimpleNamespace(keep_warm=told, tx=["popen", "popen"])
    workers.with_ready_workers(option)
    assert option.tx == ["popen//python=python launch.py"] * 2


@pytest.mark.parametrize("minutes", ["nan", "inf", "-1", "", "soon", "1441", "9" * 4_000])
def test_minutes_for_which_nothing_stays_are_refused(minutes: str) -> None:
    option = SimpleNamespace(keep_warm=minutes, tx=["popen"])
    with pytest.raises(UsageError, match=r"--keep-warm .*: must be a number of minutes from 0 to 1440") as caught:
        workers.with_ready_workers(option)
    assert len(str(caught.value)) < 500


def taken(*used: int | None) -> Stack:
    """GPUs of 80 GiB of which others hold so many MiB."""
    return cuda_stack(gpus=tuple(Gpu("NVIDIA H100", 81920, "9.0", used_mib=mib) for mib in used))


@pytest.mark.parametrize(
    ("used", "count"), [((None,), 12), ((0,), 12), ((512,), 12), ((71680,), 2), ((81900,), 1), ((71680, 0), 14)]
)
def test_as_many_workers_as_what_is_free_can_bear(
    monkeypatch: pytest.MonkeyPatch, used: tuple[int | None, ...], count: int
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    monkeypatch.setattr(workers, "cpu_count", lambda: 64)
    assert auto_workers(taken(*used)) == count


@pytest.mark.parametrize(("told", "none"), [("0", True), ("00", True), ("2", False), ("", False), ("x", False)])
def test_the_environment_may_ask_for_no_worker(monkeypatch: pytest.MonkeyPatch, told: str, none: bool) -> None:
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", told)
    assert no_workers_are_asked_for() is none


def test_the_header_names_what_others_hold() -> None:
    settings = SimpleNamespace(stack=taken(71680, 0), profile="smoke", narrowed="", shard=None)
    config: Any = SimpleNamespace(stash={SETTINGS: settings})
    assert pytest_report_header(config)[2:] == ["GPU 0: 70.0 GiB of 80.0 GiB are in use by others"]


def test_what_others_hold_travels_to_the_workers() -> None:
    told = WorkerInput(
        TypeAdapter(Stack).dump_json(taken(71680)).decode(), "out", "crumbs", "", "", threads=1, gpu=None
    )
    assert TypeAdapter(Stack).validate_json(told.stack).gpus[0].used_mib == 71680


@pytest.mark.parametrize(
    ("killed", "deadline", "verdict"),
    [(False, 1e12, "crashed"), (True, 1e12, "out_of_memory"), (False, 0.0, "timeout"), (True, 0.0, "timeout")],
)
def test_whom_the_kernel_ended_wanted_memory(tmp_path: Path, killed: bool, deadline: float, verdict: str) -> None:
    cell = "gpt2-float32-eager-prefill"
    (tmp_path / "gw0").write_text(json.dumps({"cell": cell, "phase": "load", "deadline": deadline}))
    settings: Any = SimpleNamespace(stack=make_stack(), rules=(), waivers=(), architectures=ARCHITECTURES, seed=0)
    record = crash_record(f"conformance/test_cells.py::test_cell[{cell}]", "gw0", tmp_path, settings, killed=killed)
    assert record is not None
    assert record.verdict == verdict
    assert ("killer" in record.reason) is (verdict == "out_of_memory")
