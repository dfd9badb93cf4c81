"""Generated on from one prompt after another, and again after that."""

from matrix.observation import Phase
from matrix.rooms import Inputs, Workload
from matrix.workloads.generate import impossible_to_generate

ROOMS = (
    Workload(
        name="same_again_generated",
        about="greedy generation of 8 tokens from another prompt, the batch, the other prompt, and the batch again",
        phases=(Phase.GENERATE,),
        judged="each step's logits and each token are judged, of the last generation",
        inputs=Inputs.GENERATE,
        decodes=True,
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=left cache=dynamic,static dtype=float32,bfloat16"
        },
        impossible=impossible_to_generate,
    ),
)
