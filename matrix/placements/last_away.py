"""The last block of each stack waits elsewhere than the rest is: on the CPU, or on the disk."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.placed import mapped_just_to, mapped_to
from matrix.rooms import Placement, Values

_WORDS = {"0": "GPU 0", "cpu": "the CPU", "disk": "the disk"}
# Where most is, and where the last blocks wait.
_PLACES = {"cpu_offload": ("0", "cpu"), "disk": ("0", "disk"), "cpu_disk": ("cpu", "disk")}
_WITH_ALL = "cpu_offload"  # every profile may try it; the others have profiles of their own


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    near, far = _PLACES[cell.device_map]
    judged = mapped_just_to if cell.device_map == _WITH_ALL else mapped_to
    yield from judged(evidence, {near, far}, f"{_WORDS[near]} and {_WORDS[far]}")


ROOMS = tuple(
    Placement(
        name=name,
        about=f"a device_map with the last block of each stack on {_WORDS[far]} and the rest on {_WORDS[near]}",
        place=30 + 10 * number,
        family="last_away",
        profiles=None if name == _WITH_ALL else {},
        on_the_cpu=near == "cpu",
        substituted=_substituted,
    )
    for number, (name, (near, far)) in enumerate(_PLACES.items())
)
