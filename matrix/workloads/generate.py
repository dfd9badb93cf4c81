"""Greedy decoding."""

from matrix.architectures import Architecture, Kind
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.relations import follows_the_length
from matrix.rooms import Inputs, Values, Workload


def impossible_to_generate(cell: Values, architecture: Architecture) -> str | None:
    """Why nothing can be generated from such a batch, or None."""
    if architecture.kind is Kind.ENCODER:
        return "an encoder does not generate"
    if cell.padding is Padding.RIGHT and architecture.kind is Kind.DECODER:
        return "generation after right padding is not defined for a decoder: transformers asks for left padding"
    return follows_the_length(architecture)


ROOMS = (
    Workload(
        name="generate",
        about="greedy generation of 32 tokens with cache",
        place=20,
        phases=(Phase.GENERATE,),
        judged="each step's logits and each token are judged",
        inputs=Inputs.GENERATE,
        decodes=True,
        priced_by="token",
        impossible=impossible_to_generate,
    ),
)
