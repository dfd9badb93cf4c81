"""What the rooms of placements share: where parameters must lie."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Values


def all_on_device(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    """A complaint unless every parameter is on the device."""
    if set(evidence.placement) != {device}:
        yield f"parameters lie on {dict(evidence.placement)}, not on {device}"
