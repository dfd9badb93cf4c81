"""The rows in another order."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, without_device_map
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="batch_permutation",
        about="the batch, and its rows in another order",
        place=50,
        family=FAMILY,
        phases=(Phase.FORWARD,),
        judged=JUDGED,
        runs=2,
        impossible=without_device_map,
    ),
)
