"""In chunks with cache = one forward pass."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_a_cache
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="chunked_prefill",
        about="one forward pass, and chunks of 17 tokens with a cache",
        place=80,
        family=FAMILY,
        phases=(Phase.FORWARD,),
        judged=JUDGED,
        runs=2,
        impossible=of_a_cache,
    ),
)
