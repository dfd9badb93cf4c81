"""A prompt, an answer, and what is said next, all at once, on the filled cache."""

from matrix.architectures import Architecture, Kind
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.relations import follows_the_length, takes_no_cache
from matrix.rooms import Inputs, Values, Workload

PROFILES = {
    "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
    " padding=none,left cache=dynamic dtype=float32,bfloat16"
}


def impossible_to_go_on(cell: Values, architecture: Architecture) -> str | None:
    """Why there is no second turn, or None."""
    if architecture.kind is not Kind.DECODER:
        return "only a decoder goes on with its own input"
    if cell.padding is Padding.RIGHT:
        return "what padding on the right does to a cache is what continued is about"
    return follows_the_length(architecture) or takes_no_cache(architecture)


ROOMS = (
    Workload(
        name="second_turn_by_hand",
        about="a short prompt, 12 given tokens one by one, 17 at once, and 8 one by one, with one cache",
        phases=(Phase.FORWARD,),
        judged="the logits of the prompt and of every token are judged",
        inputs=Inputs.CONTINUE,
        profiles=PROFILES,
        impossible=impossible_to_go_on,
    ),
)
