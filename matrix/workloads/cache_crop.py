"""A cache cropped back to a prefix that two texts share, then the other text."""

from matrix.observation import Phase
from matrix.relations import of_a_kept_cache
from matrix.rooms import Inputs, Workload

ROOMS = (
    Workload(
        name="cache_crop",
        about="a prompt and 12 tokens with a DynamicCache, which is cropped back to the prompt, then 6 other tokens",
        family="cache_reuse",
        phases=(Phase.FORWARD,),
        judged="the logits of the other tokens are judged",
        inputs=Inputs.CONTINUE,
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=none,left dtype=float32,bfloat16",
        },
        impossible=of_a_kept_cache,
    ),
)
