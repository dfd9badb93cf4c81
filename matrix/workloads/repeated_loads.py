"""Loaded twelve times more = loaded once, and nothing stays behind."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.axes import Padding
from matrix.observation import Evidence, Phase
from matrix.relations import FAMILY, JUDGED
from matrix.rooms import Values, Workload

# Of twelve loads of a fixture, whose weights take less than one MiB: an allocator may round up, a leak goes on.
_ALLOWED = {"MiB": 64.0, "threads": 6.0}


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.device_map.processes == 1 or cell.padding is not Padding.NONE:
        return "what loading leaves behind is asked where several processes load together, which takes groups of them"
    return None


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    if set(evidence.left_by_loads) != set(_ALLOWED):
        yield "nobody measured what the loads left behind"
    for what, left in evidence.left_by_loads.items():
        if left > _ALLOWED[what]:
            yield f"twelve loads left {left:.0f} {what} behind, {_ALLOWED[what]:.0f} would pass"


ROOMS = (
    Workload(
        name="repeated_loads",
        about="the model, and the last of thirteen that are loaded and dropped after it",
        place=115,
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.LOAD, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        impossible=_impossible,
        substituted=_substituted,
        profiles={},  # of the profile that tries several processes, which names it
    ),
)
