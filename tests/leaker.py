"""A pytest plugin for the tests: the first cell that a process measures leaves a fault behind where nobody looks.

So it does in the fresh processes in which cells are measured again.
"""

from typing import Any

import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from conformance import bench
from conformance.plugin import afresh
from matrix.cell import Cell
from matrix.observation import Observation

_run = bench.Bench.run


def _wrong(*args: Any, **kwargs: Any) -> Any:
    output, weights = transformers.integrations.sdpa_attention.sdpa_attention_forward(*args, **kwargs)
    return 1.1 * output, weights


def leak(self: Any, cell: Cell) -> Observation:
    """Measure, then exchange a function in a registry that is no module."""
    observation = _run(self, cell)
    ALL_ATTENTION_FUNCTIONS.register("sdpa", _wrong)
    return observation


bench.Bench.run = leak  # type: ignore[method-assign,assignment]
afresh._CODE = f"import tests.leaker; {afresh._CODE}"
