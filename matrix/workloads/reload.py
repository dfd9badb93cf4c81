"""Run, save, load = run."""

from matrix.architectures import Architecture
from matrix.axes import Padding
from matrix.observation import Phase
from matrix.relations import FAMILY, JUDGED, without_device_map
from matrix.rooms import Values, Workload


def _impossible(cell: Values, architecture: Architecture) -> str | None:
    if cell.device_map.processes > 1 and cell.padding is not Padding.RIGHT:
        return None  # what several hold must be put together to be saved: that is worth a question of its own
    return without_device_map(cell, architecture)


ROOMS = (
    Workload(
        name="reload",
        about="the model, and what save_pretrained and from_pretrained make of it after it has run",
        place=110,
        family=FAMILY,
        phases=(Phase.FORWARD, Phase.SAVE, Phase.LOAD, Phase.PLACE, Phase.FORWARD),
        judged=JUDGED,
        runs=2,
        impossible=_impossible,
    ),
)
