"""A prompt, then given tokens one by one."""

from matrix.architectures import Architecture, Kind
from matrix.observation import Phase
from matrix.relations import follows_the_length, takes_no_cache
from matrix.rooms import Inputs, Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if architecture.kind is not Kind.DECODER:
        return "only a decoder goes on with its own input"
    return follows_the_length(architecture) or takes_no_cache(architecture)


ROOMS = (
    Workload(
        name="continued",
        about="a short prompt, padded on either side or not at all, and 40 given tokens one by one with a cache",
        phases=(Phase.FORWARD,),
        judged="the logits of the prompt and of every token are judged",
        inputs=Inputs.CONTINUE,
        profiles={
            "smoke": "attention=eager,sdpa sdpa_kernel=unpinned quantisation=none device_map=none dtype=float32",
            "pairwise": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none",
        },
        impossible=_impossible,
    ),
)
