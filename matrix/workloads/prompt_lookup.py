"""Greedy decoding from drafts that are looked up in the prompt and in what was chosen so far."""

from matrix.observation import Phase
from matrix.rooms import Inputs, Workload
from matrix.workloads.assisted import PROFILES, impossible_to_draft

ROOMS = (
    Workload(
        name="prompt_lookup",
        about="greedy generation of 24 tokens, row by row, from drafts of 5 that stand in the text so far",
        phases=(Phase.GENERATE,),
        judged="each step's logits and each token are judged",
        inputs=Inputs.GENERATE,
        decodes=True,
        profiles=PROFILES,
        impossible=impossible_to_draft,
    ),
)
