"""What this process holds of its GPU beside what torch knows of: read around each cell, where anybody says it."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from matrix.cell import Cell
from matrix.gpu_growth import GpuGrowth
from matrix.observation import Ending, Observation

_FIRST_NAMESPACE = "pid:[4026531836]"  # of the kernel: in others the driver knows us by another number
_MIB = 2**20

# MiB beside torch's; None where it cannot be read.
Reader = Callable[[], float | None]


class GpuWatch:
    """Holds what a process has on its GPU after each cell against what it had before."""

    def __init__(self, read: Reader) -> None:
        self.growth = GpuGrowth()
        self.last: float | None = None  # MiB beside torch's
        self._read = read

    def observed(self, cell: Cell, run: Callable[[], Observation]) -> Observation:
        """What the run observes, and what it left."""
        before = self._read()
        observation = run()
        if before is None or observation.ending is Ending.DEVICE_LOST:
            return observation
        self.last = self._read()
        if self.last is None:
            return observation
        completed = observation.ending is Ending.COMPLETED
        left = self.growth.note(cell, self.last - before, completed=completed)
        if not left:
            return observation
        return replace(observation, evidence=replace(observation.evidence, left_on_gpu_mib=round(left, 1)))

    def held(self) -> dict[str, float]:
        """What this process has of its GPU, in MiB (`ProcessMemory`); nothing without one."""
        if not torch.cuda.is_initialized():
            return {}
        held = {"gpu": torch.cuda.memory_reserved() / _MIB}
        if self.last is not None:
            held |= {"beside": self.last, "grown": self.growth.mib, "cells": self.growth.cells}
        return {name: round(value, 1) for name, value in held.items()}


def reader(device: torch.device, *, alone: bool) -> Reader:
    """What the driver says that this process holds of the device, or, of one that is alone there, all that is held."""
    if device.type != "cuda":
        return lambda: None
    of_driver = _of_driver(device)
    if of_driver is None and not alone:
        return lambda: None

    def read() -> float | None:
        if of_driver is not None:
            held = of_driver()
        else:
            free, total = torch.cuda.mem_get_info(device)
            held = total - free
        return None if held is None else (held - torch.cuda.memory_reserved(device)) / _MIB

    return read


def _of_driver(device: torch.device) -> Callable[[], int | None] | None:
    """Reads the bytes that the driver says this process holds; None where it does not know this process."""
    try:
        import pynvml

        if os.readlink("/proc/self/ns/pid") != _FIRST_NAMESPACE:
            return None
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        held = _held(pynvml, handle)
    except Exception:  # no such module, driver, name or right: whatever it is, another way must do
        return None
    return None if held is None else lambda: _held(pynvml, handle)


def _held(pynvml: Any, handle: Any) -> int | None:
    own = os.getpid()
    processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return next((process.usedGpuMemory for process in processes if process.pid == own), None)
