"""Token by token with cache = one forward pass."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_a_cache
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="stepwise",
        about="one forward pass, and the last 8 tokens one by one with a cache",
        place=70,
        family=FAMILY,
        phases=(Phase.FORWARD,),
        judged=JUDGED,
        runs=2,
        impossible=of_a_cache,
    ),
)
