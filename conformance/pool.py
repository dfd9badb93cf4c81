"""Processes that share out work of their own, each on one of the GPUs; nothing that is done is lost."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from matrix.errors import UsageError

Result = TypeVar("Result")


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
