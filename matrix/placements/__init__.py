"""Where weights go: a file for each device_map. How each is done: `conformance/placements/`."""

from matrix.rooms import Placement, discover

PLACEMENTS = discover(__name__, __path__, Placement)
