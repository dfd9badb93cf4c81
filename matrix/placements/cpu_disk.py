"""Everything on the CPU but the last block of each stack, which waits on the disk. It needs no GPU."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.placed import mapped_to
from matrix.rooms import Placement, Values


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    yield from mapped_to(evidence, {"cpu", "disk"}, "the CPU and the disk")


ROOMS = (
    Placement(
        name="cpu_disk",
        about="a device_map with the last block of each stack on the disk and the rest on the CPU",
        place=50,
        profiles={},
        substituted=_substituted,
    ),
)
