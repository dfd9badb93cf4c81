"""A pytest plugin for the tests: cells are not run but played, and some cells and rows are made to go wrong.

The environment variable SABOTAGE holds a JSON object, cell id or row key -> what happens to it; the rest is fine.
"""

import collections
import fcntl
import itertools
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance import interruption
from conformance.interruption import CellTimeout, DeviceLost
from conformance.plugin import measuring
from conformance.plugin.collection import cell_id_of
from conformance.plugin.rows import row_key
from matrix.architectures import load_architectures
from matrix.axes import Attention
from matrix.cell import Cell
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Origin, Phase

interruption.GRACE_SECONDS = 1.0
ARCHITECTURES = load_architectures()
STEERING = "\x1b]0;a title\x07 \x1b[31mred\x9b0m"
_SABOTAGE: dict[str, str] = json.loads(os.environ.get("SABOTAGE", "{}"))
_seen: collections.Counter[str] = collections.Counter()


def play(self: Any, cell: Cell) -> Observation:
    """What the bench would have observed, after others."""
    _seen[cell.id] += 1
    match _SABOTAGE.get(cell.id, "fine"):
        case "crash" | "crash once":
            self._leave_breadcrumb(cell, Phase.GENERATE)
            os.abort()
        case "take the folder away and crash":
            shutil.rmtree(self._breadcrumb.parents[2])
            os.abort()
        case "crash without a trace":
            self._breadcrumb.unlink(missing_ok=True)
            os.abort()
        case "hang":
            try:
                while True:
                    pass
            except CellTimeout as error:
                return Observation(Ending.TIMEOUT, failure=Failure(Phase.FORWARD, "CellTimeout", str(error)))
        case "hang for good":  # in C, where no Python signal handler gets a turn
            collections.deque(itertools.repeat(None), maxlen=0)
        case "lose the device" | "lose the device once":
            return Observation(Ending.DEVICE_LOST, failure=Failure(Phase.FORWARD, "AcceleratorError", "CUDA error"))
        case ended if ended.split()[0] in signal.Signals.__members__:  # of the process that controls the session
            if self._breadcrumb is None:
                for name in ended.split():
                    signal.raise_signal(signal.Signals[name])
            _await_the_records_of_others(self._breadcrumb.parents[2] / "records.jsonl", cell)
            for name in ended.split():
                os.kill(int(self._breadcrumb.parent.name), signal.Signals[name])
            os._exit(1)
        case "waver":
            return _completed(cell, error=9.0 if _seen[cell.id] % 2 else 0.5)
        case "fail once":
            return _completed(cell, error=9.0 if _seen[cell.id] == 1 else 0.5)
        case suffers if suffers.startswith("suffer"):  # from what other cells have left behind
            return _completed(cell, error=9.0)
        case want if want.startswith("out of memory"):
            return _want()
        case wrong if wrong.startswith("err"):
            lacking = ("lm_head.weight",) if "lack" in _SABOTAGE[cell.id] else ()
            played = _completed(cell, error=9.0)
            return replace(played, evidence=replace(played.evidence, missing_parameters=lacking))
        case "steer":
            return Observation(Ending.RAISED, failure=Failure(Phase.FORWARD, "RuntimeError", STEERING))
        case wait if wait.startswith("wait for "):  # a file; beside it stands which node of a cluster waits
            path = Path(wait.removeprefix("wait for "))
            if not path.exists():
                path.with_suffix(".waiting").write_text(os.environ.get("RAY_RAYLET_PID", ""), encoding="utf-8")
            while not path.exists():
                time.sleep(0.05)
        case "break the suite":
            raise AssertionError("the suite itself is at fault")
        case "break and steer":
            raise AssertionError(STEERING)
    return _completed(cell, error=0.5)


def play_alone(self: Any, cell: Cell, after: Sequence[Cell] = ()) -> Observation:
    """What it would have observed in a fresh process, in which these others were measured before."""
    match _SABOTAGE.get(cell.id, "fine"):
        case "crash" | "take the folder away and crash":
            return Observation(
                Ending.CRASHED, failure=Failure(Phase.GENERATE, "ProcessEnded", "the process died, alone")
            )
        case "out of memory alone too":
            return _want()
        case "crash once" | "lose the device once" | "out of memory among others":
            return _completed(cell, error=0.5)
        case "suffer" if not after:
            return _completed(cell, error=0.5)
        case suffers if suffers.startswith("suffer from "):
            among = suffers.removeprefix("suffer from ") in [other.id for other in after]
            return _completed(cell, error=9.0 if among else 0.5)
    return play(self, cell)


def _await_the_records_of_others(records: Path, cell: Cell) -> None:
    """Until what this process measured before is written: which cells a signal costs does not depend on its moment."""
    others = _seen.keys() - {cell.id}
    while not all(f'"cell":"{other}"' in records.read_text(encoding="utf-8") for other in others):
        time.sleep(0.01)


def _want() -> Observation:
    message = (
        "CUDA out of memory. Tried to allocate 20.00 GiB. "
        "GPU 0 has a total capacity of 79.10 GiB of which 1.50 GiB is free."
    )
    return Observation(Ending.OUT_OF_MEMORY, failure=Failure(Phase.FORWARD, "OutOfMemoryError", message))


def _completed(cell: Cell, error: float) -> Observation:
    comparison = Comparison("logits", 4, True, True, True, error, error, 1.0, 1.0, 0.1, 0.1)
    evidence = Evidence(
        model_type=ARCHITECTURES[cell.architecture].model_type,
        attn_implementations={"Model": cell.attention.value},
        sdpa_calls=int(cell.attention is Attention.SDPA),
        placement={"cpu": 1},
    )
    return Observation(Ending.COMPLETED, comparisons=(comparison,), evidence=evidence)


class Explaining:
    """A bench that is asked where wrong numbers begin."""

    def origin(self, cell: Cell) -> Origin | None:
        """What it would have found."""
        if _SABOTAGE[cell.id].endswith("crash when explained"):
            os.abort()
        if _SABOTAGE[cell.id].endswith("lose the device when explained"):
            raise DeviceLost("lost")
        if _SABOTAGE[cell.id].endswith("hang when explained"):
            collections.deque(itertools.repeat(None), maxlen=0)
        return Origin("", 0, "model.layers.0.mlp", "MLP", "row 1 only", 9.0, 1.0, 3.1, 0.0, 1.0, True)


measuring.Measure._warm_bench = lambda self: Explaining()  # type: ignore[method-assign,assignment,return-value]
measuring.Measure._on_bench = play  # type: ignore[method-assign]
measuring.Measure._alone = play_alone  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    """A disk that takes no more than a few records."""
    if not hasattr(config, "workerinput") and (room := _SABOTAGE.get("disk")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))


def pytest_runtest_logreport(report: Any) -> None:
    """Where the session is controlled something may be at fault."""
    if hasattr(report, "node") and _SABOTAGE.get(cell_id_of(report.nodeid) or "") == "break the controller":
        raise RuntimeError("the suite itself is at fault")


def pytest_runtest_call(item: pytest.Item) -> None:
    """What happens to a row before it begins."""
    match _SABOTAGE.get(row_key(item.nodeid) or ""):
        case "crash":
            os.abort()
        case "err":
            raise AssertionError("sabotaged")
        case "look":
            told: Any = item.config
            room = Path(told.workerinput["conformance"]["breadcrumbs"]) / "memory-host.room"
            with room.open("ab") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise AssertionError("it shares the memory") from None
            raise AssertionError("nobody knows that it is here")
