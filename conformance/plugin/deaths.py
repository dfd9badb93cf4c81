"""Deaths of workers: which cells took one down before, and whether it was the kernel that wanted memory back."""

from pathlib import Path

from matrix.verdict import Verdict
from reports.document import Record

KILLED = "and the kernel's out-of-memory killer had ended one of this run's"
_DOUBTED = (Verdict.CRASHED, Verdict.OUT_OF_MEMORY)
_CGROUPS = Path("/sys/fs/cgroup")


def is_first_death(record: Record, breadcrumbs: Path) -> bool:
    """Whether no worker died of that cell before, so that it is to be measured once more; the record is then kept.

    What hung is not measured again, nor what a waiver excuses or died while it was explained.
    """
    path = _kept_at(record.cell, breadcrumbs)
    if record.verdict not in _DOUBTED or record.waived is not None or path.is_file():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.model_dump_json(), encoding="utf-8")
    except OSError:  # on a full disk nobody could be told
        return False
    return True


def first_death(cell_id: str, breadcrumbs: Path) -> Record | None:
    """The record of the worker that died of that cell, if one did."""
    try:
        return Record.model_validate_json(_kept_at(cell_id, breadcrumbs).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _kept_at(cell_id: str, breadcrumbs: Path) -> Path:
    return breadcrumbs / f"{cell_id}.died"


class KernelKills:
    """How often the kernel has ended a process of this control group, or machine, for want of memory."""

    def __init__(self, counter: Path | None = None) -> None:
        self._counter = _counter() if counter is None else counter
        self._seen = self._now()

    def another(self) -> bool:
        """Whether there was one that was not asked about yet."""
        new = self._now() > self._seen
        self._seen += new
        return new

    def _now(self) -> int:
        try:
            lines = self._counter.read_text(encoding="ascii").splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        except (OSError, StopIteration, ValueError, IndexError):
            return 0


def _counter() -> Path:
    """The file that counts: of the group in either version of cgroups, as the process or its container sees it."""
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    except OSError:
        groups = []
    of_version_2 = [_CGROUPS / path.strip("/") / "memory.events" for number, _, path in groups if number == "0"]
    of_version_1 = [
        _CGROUPS / "memory" / path.strip("/") / "memory.oom_control" for _, names, path in groups if names == "memory"
    ]
    in_container = [_CGROUPS / "memory.events", _CGROUPS / "memory" / "memory.oom_control"]
    found = (path for path in (*of_version_2, *of_version_1, *in_container) if path.is_file())
    return next(found, Path("/proc/vmstat"))
