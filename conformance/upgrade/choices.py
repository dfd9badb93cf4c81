"""What an upgrade is told by name on its command line."""

from enum import StrEnum


class How(StrEnum):
    """How the candidate's environment is built."""

    AUTO = "auto"  # uv where it is, else pip
    UV = "uv"
    PIP = "pip"
    OVERLAY = "overlay"  # only what the pins change, in a folder that comes first on the path

    @property
    def for_many(self) -> "How":
        """The same where many are built, if nobody said how: a copy of all libraries for each would fill a disk."""
        return How.OVERLAY if self is How.AUTO else self


class Question(StrEnum):
    """What is asked of regressions."""

    BLAME = "blame"  # which package change brings them
    BISECT = "bisect"  # since which of its releases
