"""A cache that grows with what it holds."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Cache, Values


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    if cell.workload.decodes and not evidence.caches:
        yield "no cache came out of the generation"
    static = [name for name in evidence.caches if "StaticCache" in name]
    if static:
        yield f"the cache was {', '.join(static)}, which does not grow"


ROOMS = (
    Cache(
        name="dynamic",
        about="the cache that generate() makes by itself, which grows",
        place=0,
        substituted=_substituted,
    ),
)
