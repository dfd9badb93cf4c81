"""Everything on GPU 0 but the last block of each stack, which waits on the CPU."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Placement, Values


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    mapped = set((evidence.hf_device_map or {}).values())
    if mapped != {"0", "cpu"}:
        yield f"hf_device_map names {sorted(mapped)}, not GPU 0 and the CPU"


ROOMS = (
    Placement(
        name="cpu_offload",
        about="a device_map with the last block of each stack on the CPU and the rest on GPU 0",
        place=30,
        substituted=_substituted,
    ),
)
