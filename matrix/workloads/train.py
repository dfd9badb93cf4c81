"""A training step without the optimiser."""

from matrix.architectures import Architecture
from matrix.observation import Phase
from matrix.rooms import Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.quantisation != "none":
        return "quantised weights have no gradients: what trains beside them is an adapter"
    return None


ROOMS = (
    Workload(
        name="train",
        about="a forward pass with labels and its gradients, without dropout",
        place=30,
        phases=(Phase.FORWARD,),
        judged="logits and gradients are judged",
        profiles={},
        impossible=_impossible,
    ),
)
