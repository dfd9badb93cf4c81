"""The host's memory that this process has had."""

from pathlib import Path


def peak_host_mib() -> float:
    """The most host memory that this process has had at a time, in MiB; 0 where the system does not say.

    Not by `getrusage`: what that says of a process began with the one that it was started from.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return 0.0
