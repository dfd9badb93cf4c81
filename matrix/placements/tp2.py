"""Divided between two processes, as transformers' own plan for the class says.

It is a value of this axis, for it is what from_pretrained is told instead of a device_map, and excludes one.
"""

from collections.abc import Iterator

from matrix.adapters import FAMILY as ADAPTERS
from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.placed import all_on_device
from matrix.rooms import Placement, Values

_WORKLOADS = ("prefill", "generate", "reload", "placement_invariance", "repeated_loads")


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if (cell.workload not in _WORKLOADS and cell.workload.family != ADAPTERS) or cell.transformation != "none":
        return f"two processes are tried in {', '.join(_WORKLOADS)} and with adapters, of a model as it was loaded"
    return None


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    yield from all_on_device(cell, architecture, evidence, device)
    if len(evidence.rank_bytes) != cell.device_map.processes:
        yield f"{len(evidence.rank_bytes)} processes held the model, not {cell.device_map.processes}"
    elif not evidence.divided:
        yield "every parameter lies whole in each process: nothing was divided"


ROOMS = (
    Placement(
        name="tp2",
        about='tp_plan="auto" between two processes',
        place=40,
        processes=2,
        impossible=_impossible,
        substituted=_substituted,
        profiles={},  # profiles name it where they mean it: it is no matter of a moment to start the processes
    ),
)
