"""Inputs brought to where the model says that it is."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, of_placement
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="asked_device",
        about="the model, and the same with its inputs where model.device says",
        place=302,
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.PLACE, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        profiles={},
        impossible=of_placement,
    ),
)
