"""Moved after it was dispatched."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_placement
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="moved_after",
        about="the model, and the same after .to(device)",
        place=300,
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.TRANSFORM, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        profiles={},
        impossible=of_placement,
    ),
)
