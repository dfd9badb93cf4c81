"""A prefix that is prefilled once and repeated for several texts."""

from matrix.observation import Phase
from matrix.relations import of_a_kept_cache
from matrix.rooms import Inputs, Workload

ROOMS = (
    Workload(
        name="cache_repeat",
        about="each prompt prefilled once, its DynamicCache repeated for two texts, then 6 tokens of each",
        family="cache_reuse",
        phases=(Phase.FORWARD,),
        judged="the logits of the tokens behind the prompts are judged",
        inputs=Inputs.CONTINUE,
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=none dtype=float32,bfloat16",
        },
        impossible=of_a_kept_cache,
    ),
)
