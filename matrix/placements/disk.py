"""Everything on GPU 0 but the last block of each stack, which waits on the disk."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.placed import mapped_to
from matrix.rooms import Placement, Values


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    yield from mapped_to(evidence, {"0", "disk"}, "GPU 0 and the disk")


ROOMS = (
    Placement(
        name="disk",
        about="a device_map with the last block of each stack on the disk and the rest on GPU 0",
        place=40,
        profiles={},
        substituted=_substituted,
    ),
)
