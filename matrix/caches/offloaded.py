"""A cache that grows, and waits in the memory of the CPU."""

from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.observation import Evidence
from matrix.rooms import Cache, Values

TRIED = {
    "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
    " padding=left workload=generate,beam dtype=bfloat16",
}


def _substituted(cell: Values, architecture: Architecture, evidence: Evidence, device: str) -> Iterator[str]:
    others = [name for name in evidence.caches if "DynamicCache" not in name]
    if others or not evidence.caches:
        yield f"the cache was {', '.join(others) or 'not seen'}, not a DynamicCache"
    yield from stayed(evidence)


def stayed(evidence: Evidence) -> Iterator[str]:
    """Words for a cache that never left the GPU."""
    if not any(" on cpu" in said for said in evidence.cache_layers):
        yield "none of its layers waited in the memory of the CPU"


ROOMS = (
    Cache(
        name="offloaded",
        about='cache_implementation="offloaded"',
        profiles=TRIED,
        substituted=_substituted,
    ),
)
