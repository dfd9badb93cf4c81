"""A static cache that is reset and used for fewer rows."""

from matrix.observation import Phase
from matrix.relations import of_a_kept_cache
from matrix.rooms import Inputs, Workload

ROOMS = (
    Workload(
        name="cache_reset_fewer",
        about="four rows in a StaticCache, which is reset, then a prompt and 6 tokens one by one in two rows",
        family="cache_reuse",
        phases=(Phase.FORWARD,),
        judged="the logits of all attended tokens after the reset are judged",
        inputs=Inputs.CONTINUE,
        profiles={
            "decoding": "attention=eager,sdpa sdpa_kernel=unpinned quantisation=none device_map=none padding=none"
            " dtype=float32",
        },
        impossible=of_a_kept_cache,
    ),
)
