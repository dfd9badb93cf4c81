"""What ends a measurement from outside. Apart from the engine, so that raising it imports no torch."""


class CellTimeout(Exception):
    """Raised into a run that takes too long."""


class DeviceLost(BaseException):
    """The CUDA context is beyond use. No Exception: nobody should catch it and try the next example."""
