"""Run, save, load = run."""

from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, without_device_map
from matrix.rooms import Workload

ROOMS = (
    Workload(
        name="reload",
        about="the model, and what save_pretrained and from_pretrained make of it after it has run",
        place=110,
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.SAVE, Phase.LOAD, Phase.PLACE, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        impossible=without_device_map,
    ),
)
