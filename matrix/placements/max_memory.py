"""Where accelerate puts it, when max_memory leaves too little at the first place."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.placed import unquantised
from matrix.rooms import Placement, Values


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    mapped = set((evidence.hf_device_map or {}).values())
    if len(mapped) < 2:
        yield f"hf_device_map names {sorted(mapped)}, and not two places"


ROOMS = (
    Placement(
        name="max_memory",
        about='device_map="auto" with a max_memory that holds half of it at the first place: a GPU, or the CPU without',
        place=60,
        profiles={},
        impossible=unquantised,
        substituted=_substituted,
    ),
)
