"""Processes that share out work of their own, each on one of the GPUs; nothing that is done is lost."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from matrix.errors import UsageError
from reports.campaign import Noted, Notes
from reports.part import Part

Result = TypeVar("Result")
Trial = TypeVar("Trial", bound=Part)


@dataclass(frozen=True)
class Work(Generic[Trial]):
    """A part of a campaign, which one process does."""

    name: str
    kind: type[Trial]
    measure: Callable[[Sequence[Trial]], Iterable[Trial]]  # the trials that are left, given those that are known


def campaign(pool: ProcessPoolExecutor, work: Iterable[Work[Any]], notes: Notes) -> int:
    """Do the work that is not known to be done; how many parts are left, which were interrupted or failed.

    Args:
        pool: which ends with this.
        work: in the order in which it is begun.
        notes: what is known of it, and where each trial goes.

    Raises:
        UsageError: by one of them.
    """
    before = notes.read()
    left = {one.name: one for one in work if not before.get(one.name, Noted()).is_whole}
    known = {name: before.get(name, Noted()).of(one.kind) for name, one in left.items()}
    done = results(pool, {name: pool.submit(_measure, one, known[name], notes) for name, one in left.items()})
    return len(left) - len(done)


def _measure(work: Work[Any], known: Sequence[Part], notes: Notes) -> None:
    for trial in work.measure(known):
        notes.write(work.name, trial)
    notes.write(work.name)


def processes(workers: int, gpus: int) -> ProcessPoolExecutor:
    """So many processes, of which each sees one GPU, as many each."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _take_a_gpu, (context.Value("i", 0), gpus))


def _take_a_gpu(turns: Any, gpus: int) -> None:
    with turns.get_lock():
        turn, turns.value = turns.value, turns.value + 1
    if gpus > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[turn % gpus]


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
