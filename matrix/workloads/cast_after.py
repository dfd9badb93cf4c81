"""Cast after it was dispatched."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_placement
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="cast_after",
        about="the model cast to the dtype after it was loaded in another, with its device_map and without",
        place=301,
        family=FAMILY,
        phases=(Phase.LOAD, Phase.PLACE, Phase.TRANSFORM, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        profiles={},
        impossible=of_placement,
    ),
)
