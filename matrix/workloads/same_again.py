"""One input after another, and again after that."""

from matrix.architectures import Architecture
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.rooms import Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.padding is Padding.RIGHT:
        return "what is left of an input shows on either side: it is padded on the left, or not at all"
    return None


ROOMS = (
    Workload(
        name="same_again",
        about="another input, the batch, the other input, and the batch again",
        phases=(Phase.FORWARD,),
        judged="the logits of all attended positions are judged, of the last pass",
        profiles={
            "decoding": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none"
            " padding=none,left dtype=float32,bfloat16"
        },
        impossible=_impossible,
    ),
)
