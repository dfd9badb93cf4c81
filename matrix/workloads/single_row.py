"""Each row a batch of its own, its padding kept."""

from matrix.architectures import Architecture
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.rooms import Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.padding is Padding.NONE:
        return "a row without padding is what a prefill without padding has"
    return None


ROOMS = (
    Workload(
        name="single_row",
        about="one forward pass for each row of a padded batch, its padding kept",
        phases=(Phase.FORWARD,),
        judged="the logits of all attended positions are judged",
        profiles={
            "smoke": "attention=sdpa sdpa_kernel=unpinned quantisation=none device_map=none dtype=float32",
            "pairwise": "attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none device_map=none",
        },
        impossible=_impossible,
    ),
)
