"""What the rooms of placements share: where parameters must lie, and what cannot be tried there."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Values

WAITING = "meta"  # where torch says that a parameter is whose values accelerate keeps elsewhere


def all_on_device(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    """A complaint unless every parameter is on the device."""
    if set(evidence.placement) != {device}:
        yield f"parameters lie on {dict(evidence.placement)}, not on {device}"


def mapped_just_to(evidence: Evidence, places: set[str], words: str) -> Iterator[str]:
    """A complaint unless the map names just these places."""
    mapped = set((evidence.hf_device_map or {}).values())
    if mapped != places:
        yield f"hf_device_map names {sorted(mapped)}, not {words}"


def mapped_to(evidence: Evidence, places: set[str], words: str) -> Iterator[str]:
    """A complaint unless the map names just these places, and some parameters wait and some do not."""
    wrong = [*mapped_just_to(evidence, places, words)]
    if wrong:
        yield from wrong
    elif WAITING not in evidence.placement or len(evidence.placement) == 1:
        yield f"parameters lie on {dict(evidence.placement)}: not some here and some waiting"


def near_and_far(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    """A complaint unless the map has GPU 0 and the CPU, or where there is no GPU the CPU and the disk."""
    if device == "cuda":
        yield from mapped_to(evidence, {"0", "cpu"}, "GPU 0 and the CPU")
    else:
        yield from mapped_to(evidence, {"cpu", "disk"}, "the CPU and the disk")


def unquantised(cell: Values, architecture: Architecture) -> str | None:
    """Why a dict as somebody wrote it is tried with plain weights alone, or None."""
    if cell.quantisation == "none":
        return None
    return "what a dict may say is tried with plain weights; where packed ones wait, the plain maps show"
