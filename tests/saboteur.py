"""A pytest plugin for the tests: cells are not run but played, and some cells and rows are made to go wrong.

The environment variable SABOTAGE holds a JSON object, cell id or row key -> what happens to it; the rest is fine.
"""

import collections
import itertools
import json
import os
from typing import Any

import pytest

from conformance import interruption
from conformance.interruption import CellTimeout
from conformance.plugin import measuring
from conformance.plugin.rows import row_key
from matrix.architectures import load_architectures
from matrix.axes import Attention
from matrix.cell import Cell
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Phase

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
        case "err":
            return _completed(cell, error=9.0)
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


measuring.Measure._on_bench = measuring.Measure._alone = play  # type: ignore[method-assign]


def pytest_runtest_call(item: pytest.Item) -> None:
    """What happens to a row before it begins."""
    match _SABOTAGE.get(row_key(item.nodeid) or ""):
        case "crash":
            os.abort()
        case "err":
            raise AssertionError("sabotaged")
