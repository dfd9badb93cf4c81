"""Several documents in one row, told apart by their positions."""

from collections.abc import Mapping

from matrix.architectures import Architecture, Family, Kind, Positions
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.relations import follows_the_length
from matrix.rooms import Values, Workload

JUDGED_APART = "the logits of every document are judged against it alone"


def impossible_to_pack(cell: Values, architecture: Architecture) -> str | None:
    """Why documents cannot stand in one row, or None."""
    if architecture.kind is not Kind.DECODER or architecture.family is not Family.TEXT_DECODER:
        return "documents are packed for decoders of text alone"
    if cell.padding is not Padding.NONE:
        return "a packed row is there to have no padding"
    if architecture.positions is Positions.FIXED:
        return "its positions cannot be told: nothing tells documents apart"
    return follows_the_length(architecture) or architecture.cannot_pad(Padding.RIGHT)  # the truth has uneven rows


def with_attention(implementations: str) -> Mapping[str, str]:
    """The profiles that try documents in one row, with these attention implementations."""
    rest = "sdpa_kernel=unpinned quantisation=none device_map=none padding=none dtype=float32,bfloat16"
    return {"decoding": f"attention={implementations} {rest}"}


ROOMS = (
    Workload(
        name="packed",
        about="4 documents in one row, told apart by positions, without cache and mask",
        phases=(Phase.FORWARD,),
        judged=JUDGED_APART,
        profiles=with_attention("eager,sdpa,flash_attention_2"),
        impossible=impossible_to_pack,
    ),
)
