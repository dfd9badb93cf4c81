"""Processes that share out work of their own, each on one of the GPUs; nothing that is done is lost."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, TypeVar

from conformance.interruption import end_with_parent
from conformance.notes import Noted, Notes
from conformance.plugin.workers import gpu_names
from matrix.errors import UsageError
from reports.part import Part

Result = TypeVar("Result")
Trial = TypeVar("Trial", bound=Part)


@dataclass(frozen=True)
class Work(Generic[Trial]):
    """A part of a campaign, which one process does."""

    name: str
    kind: type[Trial]
    measure: Callable[[Sequence[Trial]], Iterable[Trial]]  # the trials that are left, given those that are known


def campaign(pool: ProcessPoolExecutor, work: Iterable[Work[Any]], notes: Notes) -> tuple[list[Any], int]:
    """The trials of all parts that are whole, in the order of the work, and how many parts are left.

    Args:
        pool: which ends with this.
        work: in the order in which it is begun; what is noted of it is not measured again.
        notes: where each trial goes.

    Raises:
        UsageError: by one of them.
    """
    parts, before = {one.name: one for one in work}, notes.read()
    known = {name: before.get(name, Noted()) for name in parts}
    left = {name: one for name, one in parts.items() if not known[name].is_whole}
    asked = {name: pool.submit(_measure, one, known[name].of(one.kind), notes) for name, one in left.items()}
    results(pool, asked)
    whole = {name: noted for name, noted in notes.read().items() if noted.is_whole}
    trials = [trial for name, one in parts.items() if name in whole for trial in whole[name].of(one.kind)]
    return trials, sum(name not in whole for name in parts)


def _measure(work: Work[Any], known: Sequence[Part], notes: Notes) -> None:
    for trial in work.measure(known):
        notes.write(work.name, trial)
    notes.write(work.name)


def processes(workers: int, gpus: int) -> ProcessPoolExecutor:
    """So many processes, of which each sees one GPU, as many each."""
    context = SpawnContext()
    if gpus > 1:
        names = gpu_names(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
        context.Process = partial(_OnOneGpu, cycle(names))  # type: ignore[assignment, misc]
    return ProcessPoolExecutor(workers, context, end_with_parent)  # however that ends: else it would go on


class _OnOneGpu(SpawnProcess):
    """Sees the next GPU from its start on: what it imports asks the driver, which then listens to nothing new."""

    def __init__(self, turns: Iterator[str], *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._gpu = next(turns)

    def start(self) -> None:
        """Begin, with an environment that is of this process alone."""
        usual = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = self._gpu
        try:
            super().start()
        finally:
            if usual is None:
                del os.environ["CUDA_VISIBLE_DEVICES"]
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = usual


def results(pool: ProcessPoolExecutor, asked: Mapping[str, Future[Result]]) -> list[Result]:
    """What the pool was asked for, in order, without what failed, which is said, and what an interruption left.

    Args:
        pool: which ends with this.
        asked: by what it is called.

    Raises:
        UsageError: by one of them.
    """
    try:
        # Again and again: a signal that another thread was told of wakes nobody who waits for ever.
        while wait(asked.values(), timeout=1).not_done:
            pass
    except KeyboardInterrupt:  # which the processes may have heard too
        wait(asked.values(), timeout=1)  # for what is on its way
        for process in list(pool._processes.values()):
            process.kill()
    done = {name: one for name, one in asked.items() if one.done() and not one.cancelled()}
    pool.shutdown(wait=False, cancel_futures=True)
    failed = {name: error for name, one in done.items() if (error := one.exception()) is not None}
    for name, error in failed.items():
        if isinstance(error, UsageError):
            raise error
        print(f"{name}:", file=sys.stderr)
        traceback.print_exception(error)
    return [one.result() for name, one in done.items() if name not in failed]
