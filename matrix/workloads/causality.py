"""Other tokens at the end change nothing before them."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_a_decoder
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="causality",
        about="the batch, and the same with other tokens at the end: what stands before them is compared",
        place=60,
        family=FAMILY,
        phases=(Phase.FORWARD,),
        judged=JUDGED,
        runs=2,
        impossible=of_a_decoder,
    ),
)
