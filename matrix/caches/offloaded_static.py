"""A cache with room for all that will come, which waits in the memory of the CPU."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.caches.offloaded import TRIED, stayed
from matrix.caches.static import is_not_static
from matrix.observation import Evidence
from matrix.rooms import Cache, Values


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    yield from is_not_static(cell, architecture, evidence, device)
    yield from stayed(evidence)


ROOMS = (
    Cache(
        name="offloaded_static",
        about='cache_implementation="offloaded_static", and nothing compiled',
        profiles=TRIED,
        substituted=_substituted,
    ),
)
