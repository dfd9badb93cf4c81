"""Memory that was not enough: who held it, and what is said of it in which words."""

import re
from collections.abc import Iterable, Iterator

from matrix.observation import Failure
from matrix.stack import Gpu

_WORTH_SAYING = 1024  # MiB that others hold of a GPU; a driver and a desktop have some hundred

# What torch and CUDA's libraries raise as errors of no type of their own.
_WORDS = re.compile(
    r"DefaultCPUAllocator: can't allocate memory"
    r"|CUDA error: out of memory|CU(BLAS|DNN|SOLVER|SPARSE)_STATUS_ALLOC_FAILED"
)
# torch.OutOfMemoryError: Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.50 GiB is free.
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+ \w+)")
_FREE = re.compile(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")
_OF_THE_HOST = ("MemoryError", "ProcessDied", "ProcessEnded")  # the kernel ends processes for want of the host's alone


def in_use_by_others(gpus: Iterable[Gpu]) -> Iterator[str]:
    """What others than this run held of each GPU when it began, where that is much."""
    for number, gpu in enumerate(gpus):
        if (gpu.used_mib or 0) >= _WORTH_SAYING:
            held, whole = (gpu.memory_mib - gpu.free_mib) / 1024, gpu.memory_mib / 1024
            yield f"GPU {number}: {held:.1f} GiB of {whole:.1f} GiB are in use by others"


def is_told_by(message: str) -> bool:
    """Whether an error that says no more by its type says that memory was not enough."""
    return _WORDS.search(message) is not None


def figures_in(message: str) -> str:
    """What was asked for and how much was free, as far as torch says it of a GPU; empty where it does not."""
    asked, free = _ASKED.search(message), _FREE.search(message)
    return f"asked for {asked[1]}, {free[2]} of {free[1]} were free" if asked and free else ""


def is_of_the_host(failure: Failure) -> bool:
    """Whether it was the host's memory, and not a GPU's."""
    return failure.type in _OF_THE_HOST or "DefaultCPUAllocator" in failure.message
