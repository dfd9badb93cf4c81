"""A cache with room for all that will come, which waits in the memory of the CPU."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Cache, Values


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    others = [name for name in evidence.caches if "StaticCache" not in name]
    if others or not evidence.caches:
        yield f"the cache was {', '.join(others) or 'not seen'}, not a StaticCache"
    if not any(" on cpu" in said for said in evidence.cache_layers):
        yield "none of its layers waited in the memory of the CPU"


ROOMS = (
    Cache(
        name="offloaded_static",
        about='cache_implementation="offloaded_static", and nothing compiled',
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=left workload=generate,beam dtype=bfloat16",
        },
        substituted=_substituted,
    ),
)
