"""A static cache that is reset and used again."""

from matrix.observation import Phase
from matrix.relations import of_a_kept_cache
from matrix.rooms import Inputs, Workload

ROOMS = (
    Workload(
        name="cache_reset",
        about="33 tokens in a StaticCache, which is reset, then another prompt and 6 tokens one by one",
        family="cache_reuse",
        phases=(Phase.FORWARD,),
        judged="the logits of all attended tokens after the reset are judged",
        inputs=Inputs.CONTINUE,
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=none,left dtype=float32,bfloat16",
        },
        impossible=of_a_kept_cache,
    ),
)
