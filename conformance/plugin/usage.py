"""The host's memory that this process has had."""

from pathlib import Path


def peak_host_mib() -> float:
    """The most host memory that this process has had at a time, in MiB; 0 where the system does not say.

    Not by `getrusage`: what that says of a process began with the one that it was started from.
    """
    return _of_status("VmHWM:")


def resident_host_mib() -> float:
    """The host memory that this process has now, in MiB; 0 where the system does not say."""
    return _of_status("VmRSS:")


def start_peak_anew() -> bool:
    """Count the most that it has had from now on, where the system lets it; whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _of_status(name: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith(name))
    except (OSError, StopIteration, ValueError):
        return 0.0
