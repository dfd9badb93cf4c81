"""Memory that workers share, the host's and a GPU's: one of them can have it to itself for as long as a cell takes."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO


class Turnstile:
    """Many pass side by side, or one alone; nobody who comes later keeps waiting whoever wants to be alone.

    Two files that are locked: a process that dies lets go of them. Whoever passes beside others touches the gate on
    the way in, whoever is alone holds it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._paths = folder / f"memory-{name}.gate", folder / f"memory-{name}.room"
        self._open: tuple[IO[bytes], IO[bytes]] | None = None

    @contextlib.contextmanager
    def beside(self, give_back: Callable[[], None]) -> Iterator[None]:
        """Pass beside others. What can be spared is given back first where somebody waits to be alone."""
        gate, room = self._files()
        if not _passed(gate):
            give_back()
            fcntl.flock(gate, fcntl.LOCK_SH)
        fcntl.flock(room, fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            yield
        finally:
            if not _passed(gate):
                give_back()
            fcntl.flock(gate, fcntl.LOCK_UN)
            fcntl.flock(room, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Pass when all others are out; until then nobody else comes in. Not to be asked for within."""
        gate, room = self._files()
        fcntl.flock(gate, fcntl.LOCK_EX)
        try:
            fcntl.flock(room, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)
            fcntl.flock(gate, fcntl.LOCK_UN)

    def _files(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._open is None:
            self._paths[0].parent.mkdir(parents=True, exist_ok=True)  # somebody may have taken it away
            gate, room = (path.open("ab") for path in self._paths)
            self._open = gate, room
        return self._open


def _passed(gate: IO[bytes]) -> bool:
    """Whether nobody holds it."""
    try:
        fcntl.flock(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True)
class SharedMemory:
    """What a worker shares with others: the memory of the host, and of its GPU where it has one."""

    host: Turnstile | None = None
    gpu: Turnstile | None = None
    on_host: int = 0  # other workers
    on_gpu: int = 0  # at most, of those on the same GPU; without one the host's memory is all there is

    @staticmethod
    def of_worker(folder: Path, gpus: int) -> "SharedMemory":
        """That of this process, one of the workers that say in `folder` where they are."""
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        if not gpus:
            return SharedMemory(Turnstile(folder, "host"), None, workers - 1, workers - 1)
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "0").replace("/", "-")
        return SharedMemory(Turnstile(folder, "host"), Turnstile(folder, named), workers - 1, -(-workers // gpus) - 1)

    @contextlib.contextmanager
    def beside(self, give_back: Callable[[], None]) -> Iterator[None]:
        """Use it as others do."""
        with contextlib.ExitStack() as stack:
            for turnstile in (self.host, self.gpu):
                if turnstile is not None:
                    stack.enter_context(turnstile.beside(give_back))
            yield

    @contextlib.contextmanager
    def alone(self, *, on_host: bool, give_back: Callable[[], None]) -> Iterator[None]:
        """Have that of the host, with all that is on its GPUs, or of the GPU to oneself, once the others are out."""
        with contextlib.ExitStack() as stack:
            whole = on_host or self.gpu is None
            if self.host is not None:
                stack.enter_context(self.host.alone() if whole else self.host.beside(give_back))
            if self.gpu is not None and not whole:
                stack.enter_context(self.gpu.alone())
            give_back()
            yield

    def others(self, *, on_host: bool) -> int:
        """How many workers may have shared it."""
        return self.on_host if on_host else self.on_gpu
