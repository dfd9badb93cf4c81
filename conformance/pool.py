"""Processes that share out work of their own, each on one of the GPUs; nothing that is done is lost."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

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


def results(pool: ProcessPoolExecutor, asked: Sequence[Future[Result]]) -> list[Result]:
    """What the pool was asked for, in order, without what failed, which is said, and what an interruption left."""
    try:
        wait(asked)
    except KeyboardInterrupt:  # which the processes may have heard too
        wait(asked, timeout=1)  # for what is on its way
        for process in multiprocessing.active_children():
            process.kill()
    done = [one for one in asked if one.done() and not one.cancelled()]
    pool.shutdown(wait=False, cancel_futures=True)
    for one in done:
        if (error := one.exception()) is not None:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return [one.result() for one in done if one.exception() is None]
