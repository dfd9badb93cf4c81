"""How a run that takes too long is interrupted. Apart from the engine, so that raising it imports no torch."""


class CellTimeout(Exception):
    """Raised into a run that takes too long."""
