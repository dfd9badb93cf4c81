"""A padded batch = each row alone."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_padding
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="padding_invariance",
        about="a padded batch, and each of its rows alone",
        place=40,
        family=FAMILY,
        phases=(Phase.FORWARD,),
        judged=JUDGED,
        runs=2,
        impossible=of_padding,
    ),
)
