"""No device_map."""

from matrix.placed import all_on_device
from matrix.rooms import Placement

ROOMS = (
    Placement(name="none", about="no device_map; the model is moved to the device", place=0, substituted=all_on_device),
)
