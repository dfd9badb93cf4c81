"""The processes of subjects: several wait with their model while one works, as long as there is memory for all."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

from conformance.advising.calling import call, discard_streams
from conformance.advising.task import Task
from matrix.advice.search import Failed, State

_BESIDE = 1.6  # of its weights: what a subject may come to hold that was never measured
_PATIENCE = 20.0  # seconds, with one that is asked to go: what is killed leaves things of the system's behind
_MOST_WAITING = 12  # processes; each holds a device's context, or the libraries


@dataclass
class _Waiting:
    process: Any
    asks: Connection
    held: int = 0  # bytes of the device
    used: float = 0.0  # when


class Processes:
    """Forked from one that has imported the libraries and asked for no GPU.

    Args:
        room: bytes of the device that all of them may hold together.
        expected: bytes of the weights of a task's model.
    """

    def __init__(self, room: int, expected: Callable[[Task], float]) -> None:
        # Asks the driver's library whether there is a GPU, not for the GPU itself.
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["conformance.advising.imported"])
        with silent():
            forkserver.ensure_running()
        self._room, self._expected = room, expected
        self._waiting: dict[str, _Waiting] = {}
        self._needed: dict[str, int] = {}  # the most that it was seen to hold

    def ask(self, task: Task, name: str, *arguments: Any, seconds: float) -> Any:
        """What the subject of that task answers, or Failed. It is loaded anew if it had to go."""
        for alone in (False, True):
            self._make_room(task, max(self._needed.get(task.key, 0), _BESIDE * self._expected(task)), alone=alone)
            waiting = self._waiting.get(task.key) or self._start(task)
            waiting.used = time.monotonic()
            found = self._answer(task.key, waiting, (name, arguments), seconds)
            short = isinstance(found, Failed) and found.state is State.OUT_OF_MEMORY
            if not short or len(self._waiting) <= 1:
                break
            self.end(task.key)  # others may hold what it lacks
        return found

    def once(self, what: str, task: Task, *arguments: Any, seconds: float, needed: float = inf) -> Any:
        """What a function of `serving` says, in a process of its own, for which so many bytes are made free.

        Without a number, or where they were too few, it has the device to itself.
        """
        if needed < inf:
            self._make_room(task, needed, alone=False)
            found = self._once(what, task, *arguments, seconds=seconds)
            short = isinstance(found, Failed) and found.state is State.OUT_OF_MEMORY
            if not short or not self._waiting:
                return found
        self.end_all()
        return self._once(what, task, *arguments, seconds=seconds)

    def _once(self, what: str, task: Task, *arguments: Any, seconds: float) -> Any:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=call, args=(what, theirs, task, *arguments), daemon=True)
        process.start()
        theirs.close()
        found = _received(ours, process, seconds)
        ours.close()
        _end(process, 0 if isinstance(found, Failed) else _PATIENCE)
        return found

    def end(self, key: str) -> None:
        """Let one go."""
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.asks.close()
            _end(waiting.process, _PATIENCE)

    def end_all(self) -> None:
        """Let all of them go."""
        for key in list(self._waiting):
            self.end(key)

    def _answer(self, key: str, waiting: _Waiting, question: Any, seconds: float) -> Any:
        try:
            waiting.asks.send(question)
        except OSError:  # it died while it waited
            self.end(key)
            return Failed(State.CRASHED, "its process died")
        found = _received(waiting.asks, waiting.process, seconds)
        if isinstance(found, Failed):  # it died, or hangs
            self._waiting.pop(key).asks.close()
            _end(waiting.process, 0)
            return found
        answer, waiting.held = found
        self._needed[key] = max(self._needed.get(key, 0), waiting.held, getattr(answer, "peak", 0))
        return answer

    def _start(self, task: Task) -> _Waiting:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=call, args=("serve", theirs, task), daemon=True)
        process.start()
        theirs.close()
        self._waiting[task.key] = _Waiting(process, ours)
        return self._waiting[task.key]

    def _make_room(self, task: Task, wanted: float, *, alone: bool) -> None:
        """End those that waited longest, until so much is free for the next one."""
        others = sorted((one for one in self._waiting if one != task.key), key=lambda one: self._waiting[one].used)
        held = sum(self._waiting[one].held for one in others)
        while others and (alone or held + wanted > self._room or len(others) >= _MOST_WAITING):
            first = others.pop(0)
            held -= self._waiting[first].held
            self.end(first)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """What is started while entered says nothing here: what libraries print when they are imported is noise."""
    usual = [os.dup(stream) for stream in (1, 2)]
    discard_streams()
    try:
        yield
    finally:
        for stream, kept in zip((1, 2), usual, strict=True):
            os.dup2(kept, stream)
            os.close(kept)


def _received(asks: Connection, process: Any, seconds: float) -> Any:
    """What comes within that time, or why nothing does."""
    try:
        if not asks.poll(seconds):
            return Failed(State.TIMEOUT, f"no answer after {seconds:.0f} s")
        return asks.recv()
    except (EOFError, OSError):
        process.join(5)
        return Failed(State.CRASHED, f"its process ended with {process.exitcode}")


def _end(process: Any, patience: float) -> None:
    process.join(patience)
    if process.is_alive():
        process.kill()
        process.join()
