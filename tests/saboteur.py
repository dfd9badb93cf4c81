"""A pytest plugin for the tests: cells are not run but played, and some cells and rows are made to go wrong.

The environment variable SABOTAGE holds a JSON object, cell id or row key -> what happens to it; the rest is fine.
"""

import collections
import itertools
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance import interruption
from conformance.interruption import CellTimeout, DeviceLost
from conformance.plugin import measuring
from conformance.plugin.rows import row_key
from matrix.architectures import load_architectures
from matrix.axes import Attention
from matrix.cell import Cell
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Origin, Phase

interruption.GRACE_SECONDS = 1.0
ARCHITECTURES = load_architectures()
_SABOTAGE: dict[str, str] = json.loads(os.environ.get("SABOTAGE", "{}"))
_seen: collections.Counter[str] = collections.Counter()


def play(self: Any, cell: Cell) -> Observation:
    """What the bench would have observed."""
    _seen[cell.id] += 1
    match _SABOTAGE.get(cell.id, "fine"):
        case "crash":
            self._leave_breadcrumb(cell, Phase.GENERATE)
            os.abort()
        case "hang":
            try:
                while True:
                    pass
            except CellTimeout as error:
                return Observation(Ending.TIMEOUT, failure=Failure(Phase.FORWARD, "CellTimeout", str(error)))
        case "hang for good":  # in C, where no Python signal handler gets a turn
            collections.deque(itertools.repeat(None), maxlen=0)
        case "lose the device":
            return Observation(Ending.DEVICE_LOST, failure=Failure(Phase.FORWARD, "AcceleratorError", "CUDA error"))
        case "waver":
            return _completed(cell, error=9.0 if _seen[cell.id] % 2 else 0.5)
        case "suffer":  # from what another cell has left behind
            return _completed(cell, error=9.0 if _seen[cell.id] == 1 else 0.5)
        case wrong if wrong.startswith("err"):
            lacking = ("lm_head.weight",) if "lack" in _SABOTAGE[cell.id] else ()
            played = _completed(cell, error=9.0)
            return replace(played, evidence=replace(played.evidence, missing_parameters=lacking))
        case wait if wait.startswith("wait for "):  # a file; beside it stands which node of a cluster waits
            path = Path(wait.removeprefix("wait for "))
            if not path.exists():
                path.with_suffix(".waiting").write_text(os.environ.get("RAY_RAYLET_PID", ""), encoding="utf-8")
            while not path.exists():
                time.sleep(0.05)
        case "break the suite":
            raise AssertionError("the suite itself is at fault")
    return _completed(cell, error=0.5)


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
measuring.Measure._on_bench = measuring.Measure._alone = play  # type: ignore[method-assign]


def pytest_runtest_call(item: pytest.Item) -> None:
    """What happens to a row before it begins."""
    match _SABOTAGE.get(row_key(item.nodeid) or ""):
        case "crash":
            os.abort()
        case "err":
            raise AssertionError("sabotaged")
