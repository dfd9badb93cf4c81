"""Beam search."""

from matrix.observation import Phase
from matrix.rooms import Inputs, Workload
from matrix.workloads.generate import impossible_to_generate

ROOMS = (
    Workload(
        name="beam",
        about="beam search with cache, 4 beams and 16 tokens",
        phases=(Phase.GENERATE,),
        judged="every beam's logits at every step are judged, and the score of the sequence that is returned",
        inputs=Inputs.GENERATE,
        decodes=True,
        profiles={
            "smoke": "attention=eager,sdpa sdpa_kernel=unpinned quantisation=none device_map=none padding=left"
            " dtype=float32,bfloat16",
            "pairwise": "attention=eager,sdpa,flash_attention_2 quantisation=none device_map=none",
        },
        impossible=impossible_to_generate,
    ),
)
