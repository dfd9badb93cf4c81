"""With the device_map = without."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_placement
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="placement_invariance",
        about="the model with its device_map, and without",
        place=100,
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.LOAD, Phase.PLACE, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        impossible=of_placement,
    ),
)
