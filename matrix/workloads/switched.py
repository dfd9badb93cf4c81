"""Another attention implementation for a model that is loaded = the model loaded with it."""

from matrix.architectures import Architecture
from matrix.axes import Attention
from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, without_device_map
from matrix.rooms import Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.attention is Attention.EAGER:
        return "eager is what is switched from"
    return without_device_map(cell, architecture)


ROOMS = (
    Workload(
        name="switched",
        about="the model, and one that was loaded with eager attention and then switched, which is watched",
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.LOAD, Phase.PLACE, Phase.TRANSFORM, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        profiles={
            "smoke": "attention=sdpa sdpa_kernel=unpinned quantisation=none padding=left dtype=float32,bfloat16",
            "pairwise": "sdpa_kernel=unpinned quantisation=none",
            "relations": "quantisation=none",
        },
        impossible=_impossible,
    ),
)
