"""One of several processes that hold one model together, from inside (from outside: conformance/ranks.py)."""

import contextlib
import faulthandler
import gc
import hashlib
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from matrix.cell import Cell, parse_cell
from matrix.observation import Phase


def serve() -> None:
    """Answer until nobody asks any more."""
    asked, telling = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)
    faulthandler.enable(all_threads=False)
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    arguments, number, size, folder, seconds = asked.recv()

    # Not before: what a library prints when it is imported would be taken for an answer.
    import torch

    from conformance.bench import Bench
    from conformance.faults import find
    from matrix.stack import Device

    here = torch.device("cuda", number) if arguments["device"] is Device.CUDA else torch.device("cpu")
    if here.type == "cuda":
        torch.cuda.set_device(here)
    torch.distributed.init_process_group(
        "nccl" if here.type == "cuda" else "gloo",
        init_method=f"file://{folder}/meeting",
        rank=number,
        world_size=size,
        timeout=timedelta(seconds=seconds),
        device_id=here if here.type == "cuda" else None,
    )

    def on_phase(cell: Cell, phase: Phase) -> None:
        telling.send(phase.value)

    bench = Bench(
        **arguments, on_phase=on_phase, rank=number, is_judged=lambda found: not same_on_all(found) or number == 0
    )
    telling.send(os.getpid())
    with contextlib.suppress(EOFError):
        while True:
            cell_id, fault = asked.recv()
            bench.fault = find(fault) if fault else None
            seen = bench.run(parse_cell(cell_id))
            end_groups()
            telling.send(seen)
    os._exit(0)  # the others may be gone, for whom the group would wait


def end_groups() -> None:
    """End the groups that loading has made beside the one that all are in.

    transformers makes a mesh for each model, and torch a group for each of its axes, with threads or communicators of
    its own, which stay when the model goes: after a hundred cells nothing else would be computed.
    """
    import torch

    gc.collect()
    world = torch.distributed.distributed_c10d._world
    for group in [group for group in world.pg_map if group is not world.default_pg]:
        torch.distributed.destroy_process_group(group)


def same_on_all(found: Any) -> bool:
    """Whether every process has found the very same numbers, and for the same tokens. All of them must ask."""
    import torch

    digest = hashlib.sha256()
    for tensor in _tensors(found):
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    digests: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(digests, digest.hexdigest())
    return len(set(digests)) == 1


def _tensors(found: Any) -> Iterator[Any]:
    """The logits of a run or of both, and what they were found for."""
    held = vars(found)
    yield from (held[name] for name in ("logits", "one", "other") if name in held)
    yield from (value for _, value in sorted(found.forced.items()) if hasattr(value, "detach"))
