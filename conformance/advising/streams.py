"""Several models held against everything at once, each by a process that has its share of the machine.

Most of the time goes into loading, compiling and judging, which one model leaves most of a machine idle with. What is
timed is timed alone (`quiet`).
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from conformance.advising import quiet
from conformance.advising.command import Say
from conformance.interruption import end_with_parent
from conformance.plugin.workers import cpu_count
from matrix.command_line import say
from matrix.errors import UsageError
from reports.advice import Advice

_BESIDES = 2e9  # parameters: what is held of any model, such as a context, caches and graphs, as if it were weights
_LOOK = 1.0  # seconds between two looks whether anybody is left stopped

# Measures the models of these advices, given how many bytes of the device there are, and what to say it with.
Measure = Callable[[Sequence[Advice], int, Say], object]


def rooms(groups: Sequence[Sequence[Advice]], room: int, at_once: int) -> list[int]:
    """Bytes of the device for each, by the size of its model, so that any of them that are measured at once fit."""
    wanted = [one[0].model.parameters + _BESIDES for one in groups]
    most = sum(sorted(wanted)[-at_once:])
    return [int(room * one / most) for one in wanted]


def side_by_side(
    groups: Sequence[Sequence[Advice]], measure: Measure, room: int, at_once: int, caches: Path | None = None
) -> list[str]:
    """Measure each of them in a process of its own, so many at once, and name those that failed.

    Args:
        caches: the folder of their measurements, where another call may go on with what is compiled.
    """
    context = multiprocessing.get_context("spawn")
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="conformance-") as made:
        folder = Path(made) / "named"
        folder.mkdir()
        waiting = list(zip(groups, rooms(groups, room, at_once), strict=True))
        running: dict[BaseProcess, str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    group, own = waiting.pop(0)
                    name = group[0].model.name
                    # In the folder of its own measurements, or in one that no other has: two may have one name.
                    within = caches.resolve() / name if caches else Path(tempfile.mkdtemp(dir=made))
                    arguments = (measure, group, own, folder, within / "compiled", at_once)
                    process = context.Process(target=_stream, args=arguments)
                    process.start()
                    running[process] = name
                wait([process.sentinel for process in running], _LOOK)
                for process in [one for one in running if one.exitcode is not None]:
                    name = running.pop(process)
                    _end(process, folder)
                    failed += [name] if process.exitcode else []
                quiet.release(folder)
        finally:
            for process in running:
                _end(process, folder)
    return failed


def _stream(measure: Measure, group: Sequence[Advice], room: int, folder: Path, compiled: Path, at_once: int) -> None:
    end_with_parent()
    os.setsid()
    name = group[0].model.name
    with quiet.named(folder, os.getpid()):
        os.environ.update(
            {
                quiet.FOLDER: str(folder),
                "TORCHINDUCTOR_COMPILE_THREADS": str(max(1, cpu_count() // at_once)),
                # What one compiles another must not wait for while that is stopped.
                "TORCHINDUCTOR_CACHE_DIR": f"{compiled}/inductor",
                "TRITON_CACHE_DIR": f"{compiled}/triton",
            }
        )
        try:
            measure(group, room, lambda line: say(f"{name}: {line}"))
        except UsageError as error:
            say(f"{name}: error: {error}", err=True)
            raise SystemExit(2) from None
        shutil.rmtree(compiled, ignore_errors=True)


def _end(process: BaseProcess, folder: Path) -> None:
    """End its group, which may be stopped, and in which processes may be left."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    (folder / str(process.pid)).unlink(missing_ok=True)
