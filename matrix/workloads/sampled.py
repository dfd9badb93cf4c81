"""Sampling with temperature, top-k, top-p and min-p."""

from matrix.observation import Phase
from matrix.rooms import Inputs, Workload
from matrix.workloads.generate import impossible_to_generate

ROOMS = (
    Workload(
        name="sampled",
        about="sampling of 16 tokens with cache: temperature 1.5, then top-k 40, top-p 0.8 and min-p 0.1; twice",
        phases=(Phase.GENERATE,),
        judged="each step's logits are judged, which tokens the filters keep, with what probability, and what is drawn",
        inputs=Inputs.GENERATE,
        decodes=True,
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=left cache=dynamic dtype=float32,bfloat16",
        },
        impossible=impossible_to_generate,
    ),
)
