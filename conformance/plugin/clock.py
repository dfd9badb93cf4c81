"""What a process spends on getting ready, told beside the first thing that it measures."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_IMPORTED = time.time()


def process_began() -> float:
    """When this process began, in seconds of the epoch; where the system does not say, when this module came in."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[19])  # field 22 of proc(5): starttime, in ticks since the boot
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return _IMPORTED


class Clock:
    """Seconds by what they were spent on: start, collect, import, device."""

    def __init__(self) -> None:
        self.began = process_began()
        self.seconds: dict[str, float] = {"start": time.time() - self.began}
        self._told: dict[str, float] = {}

    @contextlib.contextmanager
    def spending(self, on: str) -> Iterator[None]:
        """Count the block for that."""
        began = time.time()
        try:
            yield
        finally:
            self.seconds[on] = self.seconds.get(on, 0.0) + time.time() - began

    def news(self) -> dict[str, float] | None:
        """All of it, if there is more than when it was last asked for."""
        if self.seconds == self._told:
            return None
        self._told = dict(self.seconds)
        return {on: round(spent, 3) for on, spent in self.seconds.items()}
