"""A server that stays for a while: the next run forks its workers from what an earlier one has imported.

That is, where nothing has changed on which importing depends: the Python, its variables and limits, where it runs,
every file that was imported, the folders in which libraries are looked for, and all modules of a package that is worked
on instead of installed: transformers reads each of its hundreds of models when it is imported. What is measured is
loaded, moved and run in a process of its own as ever; nothing but imported modules was there before it.
"""

import contextlib
import hashlib
import json
import os
import resource
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reports.files import write_whole

# A package within these changes when something is installed, which the folder itself or the module shows.
_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = os.path.dirname(os.__file__) + os.sep
_METADATA = (".dist-info", ".egg-info")  # folders whose age counts, not what is in them
_CLOCK = 20_000_000  # nanoseconds: the clock of a file system is that coarse
_PASSED_OVER = (".", "__pycache__")  # what a run itself makes
# What differs from one command to the next and says nothing to a library.
_OF_A_COMMAND = ("_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES")
_OF_A_RUN = ("CONFORMANCE_", "PYTEST_")
_RIGHTS = ("Uid:", "Gid:", "Groups:", "Umask:", "CapEff:", "NoNewPrivs:", "Seccomp:")  # of /proc/self/status


def note_for(modules: str, minutes: float) -> Path | None:
    """Where a server that imports these notes itself down, for whoever would start the like; None where it must not.

    The folder is this user's alone: whoever can write there could have workers run what he likes.
    """
    try:
        folder = Path(tempfile.gettempdir()) / f"conformance-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        return None
    return folder / f"{_digest(modules, minutes)}.json"


def serving(note: Path) -> str | None:
    """The socket of the server that is noted there, if it is there and still would import the same.

    The note of one that would not is removed: it ends when it sees that.
    """
    try:
        known = json.loads(note.read_bytes())
        path, seen = known["socket"], known["seen"]
        if all(_seen(file) == was for file, was in seen.items()):
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(path)
            return str(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    with contextlib.suppress(OSError):
        note.unlink()
    return None


class Looked:
    """What a server sees before it imports, so that nothing that changes meanwhile is taken for what it has read."""

    def __init__(self) -> None:
        self._began = time.time_ns() - _CLOCK
        self._folders = {folder: _seen(folder) for folder in {one or os.getcwd() for one in sys.path}}

    def write(self, note: Path, path: str) -> None:
        """Note down the server of this process, which has imported all that it will, and its socket.

        Nothing is noted where a file is younger than the import: nobody knows which of the two was read.
        """
        seen = dict(self._folders)
        for folder in self._folders:
            seen |= {name: _seen(name) for name in _beside_modules(folder)}
        for name, module in list(sys.modules.items()):
            file, above = getattr(module, "__file__", None), sys.modules.get(name.rpartition(".")[0])
            if not isinstance(file, str):
                continue
            seen[file] = _seen(file)
            is_top = getattr(above, "__file__", None) is None
            if is_top and os.path.basename(file) == "__init__.py" and not _is_installed(file):
                seen |= {below: _seen(below) for below in _modules_below(os.path.dirname(file))}
        if any(isinstance(found, list) and max(found[:2]) >= self._began for found in seen.values()):
            return
        with contextlib.suppress(OSError):
            write_whole(note, json.dumps({"socket": path, "seen": dict(sorted(seen.items()))}))


def is_of(note: Path, path: str) -> bool:
    """Whether the server of that socket is the one that is noted down."""
    try:
        return bool(json.loads(note.read_bytes())["socket"] == path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def forget(note: Path, path: str) -> None:
    """Remove the note, if it is of the server of that socket."""
    if is_of(note, path):
        with contextlib.suppress(OSError):
            note.unlink()


def _beside_modules(folder: str) -> Iterator[str]:
    """What says where else modules are, that something was installed anew, or what may be imported some day."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name.endswith((".pth", *_METADATA)):
                yield path
            elif not _is_installed(path):
                yield path if name.endswith(".py") else os.path.join(path, "__init__.py")


def _is_installed(file: str) -> bool:
    return file.startswith(_STANDARD) or not set(_INSTALLED).isdisjoint(Path(file).parts)


def _modules_below(folder: str) -> Iterator[str]:
    """The modules of a package and of those within it, and the folders that hold any."""
    for where, folders, names in os.walk(folder):
        modules = [os.path.join(where, name) for name in names if name.endswith(".py")]
        folders[:] = [one for one in folders if modules and not one.startswith(_PASSED_OVER)]
        if modules:
            yield where
            yield from modules


def _seen(name: str) -> list[int] | str | None:
    """What tells whether a file was replaced, or whether something came into a folder or left it."""
    try:
        found = os.stat(name)
        if not stat.S_ISDIR(found.st_mode) or name.endswith(_METADATA):
            return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]
        names = sorted(one for one in os.listdir(name) if not one.startswith(_PASSED_OVER))
    except OSError:
        return None
    return hashlib.sha256("/".join(names).encode(errors="surrogateescape")).hexdigest()


def _digest(modules: str, minutes: float) -> str:
    """Of what importing them depends on, and what a forked process has from the one that it is forked from."""
    variables = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name not in _OF_A_COMMAND and not name.startswith(_OF_A_RUN)
    )
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    scheduled = sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)
    of_this = [sys.executable, sys.version, __file__, modules, minutes, variables, limits, scheduled, *_place()]
    return hashlib.sha256(repr(of_this).encode()).hexdigest()[:16]


def _place() -> Iterator[str]:
    """Where the kernel has this process: its group of resources, its namespaces, what it may do, and which GPUs."""
    with contextlib.suppress(OSError):
        yield Path("/proc/self/cgroup").read_text(encoding="utf-8")
        yield from (os.readlink(space) for space in sorted(Path("/proc/self/ns").iterdir()))
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        yield from (line for line in lines if line.startswith(_RIGHTS))
        yield from sorted(name for name in os.listdir("/dev") if name.startswith(("nvidia", "kfd", "dri")))
        yield Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
