"""Loaded again and again, and dropped. Scripts carry it along."""

import gc
import os
from pathlib import Path

import torch

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward

LOADS = 12


def run(model, batch, course):
    """The model, and one that is loaded after as many others; what they leave is told by the first of them."""
    batch = with_positions(batch, model)
    with course.during("forward"):
        one = forward(model, batch)
    held = []
    for _ in range(1 + LOADS):
        twin = course.load()
        with course.during("forward"):
            other = forward(twin, batch)
        del twin
        held.append(held_now(course.device))
    course.watch.left_by_loads = {what: held[-1][what] - held[0][what] for what in held[0]}
    return TwoRuns("repeated_loads", one, other, batch, judged(batch, one))


def held_now(device):
    """What this process holds: MiB of its device, as the device says and not torch, and threads.

    A GPU says what all that use it hold together. On a CPU it is what of the process is in memory.
    """
    gc.collect()
    threads = len(list(Path("/proc/self/task").iterdir()))
    if device.type != "cuda":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return {"MiB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20, "threads": threads}
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    return {"MiB": (total - free) / 2**20, "threads": threads}
