"""A cache with room for all that will come, and no more."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Cache, Values


def is_not_static(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    """Words for any other cache that was seen."""
    others = [name for name in evidence.caches if "StaticCache" not in name]
    if others or not evidence.caches:
        yield f"the cache was {', '.join(others) or 'not seen'}, not a StaticCache"


ROOMS = (
    Cache(
        name="static",
        about='cache_implementation="static", and nothing compiled',
        profiles={
            "smoke": "architecture=llama,gpt2,t5 attention=eager,sdpa sdpa_kernel=unpinned workload=generate"
            " padding=left quantisation=none device_map=none dtype=float32,bfloat16",
            "pairwise": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned workload=generate,beam"
            " quantisation=none device_map=none",
        },
        substituted=is_not_static,
    ),
)
