"""StaticCache with slots to spare = DynamicCache."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_a_decoder
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="static_cache",
        about="decoding with a DynamicCache, and with a StaticCache that has slots to spare",
        place=90,
        family=FAMILY,
        phases=(Phase.FORWARD,),
        judged=JUDGED,
        runs=2,
        impossible=of_a_decoder,
    ),
)
