"""What ends a measurement from outside. Apart from the engine, so that raising it imports no torch."""

from pathlib import Path


class CellTimeout(Exception):
    """Raised into a run that takes too long."""


class DeviceLost(BaseException):
    """The CUDA context is beyond use. No Exception: nobody should catch it and try the next example."""


class LastWords:
    """What a process was about to do, in a file that outlives it."""

    def __init__(self) -> None:
        self.path: Path | None = None

    def say(self, words: str) -> None:
        """Write it down, where there is a place for it."""
        if self.path is not None:
            self.path.write_text(words, encoding="utf-8")


LAST_WORDS = LastWords()
