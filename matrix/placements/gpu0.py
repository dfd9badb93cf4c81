"""Everything on GPU 0."""

from matrix.placed import all_on_device
from matrix.rooms import Placement

ROOMS = (Placement(name="gpu0", about='device_map={"": 0}', place=10, substituted=all_on_device),)
