"""Greedy decoding from drafts: a second model says what may come, the first one verifies it."""

from matrix.architectures import Architecture
from matrix.observation import Phase
from matrix.relations import takes_no_cache
from matrix.rooms import Inputs, Values, Workload
from matrix.workloads.generate import impossible_to_generate

PROFILES = {
    "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
    " padding=left cache=dynamic dtype=float32,bfloat16",
}


def impossible_to_draft(cell: Values, architecture: Architecture) -> str | None:
    """Why no draft can be verified, or None."""
    if cell.quantisation != "none":
        return "drafts are of another model's weights, which no quantiser spells out"
    if reason := takes_no_cache(architecture):
        return f"{reason}, and a draft is verified with one"
    return impossible_to_generate(cell, architecture)


ROOMS = (
    Workload(
        name="assisted",
        about="greedy generation of 24 tokens, row by row, from drafts of 5 by a model that is mostly right",
        phases=(Phase.GENERATE, Phase.LOAD, Phase.PLACE),
        judged="each step's logits and each token are judged",
        inputs=Inputs.GENERATE,
        decodes=True,
        profiles=PROFILES,
        impossible=impossible_to_draft,
    ),
)
