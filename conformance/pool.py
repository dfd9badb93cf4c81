"""Processes that share out work of their own, each on one of the GPUs."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Any


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
