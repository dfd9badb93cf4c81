"""Continuous batching: requests that come and go while others are being decoded."""

from matrix.architectures import Architecture, Kind, Positions
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.relations import follows_the_length, takes_no_cache
from matrix.rooms import Inputs, Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if architecture.kind is not Kind.DECODER:
        return "requests are prompts, which only a decoder goes on with"
    if architecture.inputs.get("noise") or architecture.inputs.get("by_token"):
        return "requests are tokens and nothing else"
    if cell.padding is Padding.RIGHT:
        return "requests are never padded: of uneven prompts one batch, told as padded on the left, is enough"
    if cell.padding is Padding.LEFT and architecture.positions is Positions.FIXED:
        return "its tokens count or hear the padding by design, and requests have none"
    return follows_the_length(architecture) or takes_no_cache(architecture)


ROOMS = (
    Workload(
        name="generate_batch",
        about="8 requests in flight by generate_batch(), greedily 16 tokens each, with room for 5 of them at once",
        phases=(Phase.GENERATE,),
        judged="each token and its log-probability are judged",
        inputs=Inputs.GENERATE,
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=left dtype=float32,bfloat16",
        },
        impossible=_impossible,
    ),
)
