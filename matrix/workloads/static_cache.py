"""StaticCache with slots to spare = DynamicCache."""

from matrix.architectures import Architecture
from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_a_decoder, takes_no_cache
from matrix.rooms import Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    return takes_no_cache(architecture) or of_a_decoder(cell, architecture)


ROOMS = (
    Workload(
        name="static_cache",
        about="decoding with a DynamicCache, and with a StaticCache that has slots to spare",
        place=90,
        family=FAMILY,
        phases=(Phase.FORWARD,),
        judged=JUDGED,
        runs=2,
        impossible=_impossible,
    ),
)
