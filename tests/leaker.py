"""A pytest plugin for the tests: the first cell that a process measures leaves a fault behind where nobody looks."""

from typing import Any

import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from conformance.plugin import measuring
from matrix.cell import Cell
from matrix.observation import Observation

_measure = measuring.Measure._on_bench


def _wrong(*args: Any, **kwargs: Any) -> Any:
    output, weights = transformers.integrations.sdpa_attention.sdpa_attention_forward(*args, **kwargs)
    return 1.1 * output, weights


def leak(self: Any, cell: Cell) -> Observation:
    """Measure, then exchange a function in a registry that is no module."""
    observation = _measure(self, cell)
    ALL_ATTENTION_FUNCTIONS.register("sdpa", _wrong)
    return observation


measuring.Measure._on_bench = leak  # type: ignore[method-assign]
