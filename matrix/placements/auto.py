"""Where accelerate puts it."""

from matrix.placed import all_on_device
from matrix.rooms import Placement

ROOMS = (Placement(name="auto", about='device_map="auto"', place=20, substituted=all_on_device),)
