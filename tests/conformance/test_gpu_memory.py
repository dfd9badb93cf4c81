"""What a process holds of a GPU, as a played driver says it."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conformance import gpu_memory
from conformance.gpu_memory import GpuWatch, reader
from matrix.cell import parse_cell
from matrix.observation import Ending, Observation
from matrix.stack import Device
from tests.builders import completed

CELL = parse_cell("llama-bfloat16-sdpa-prefill")
CUDA, MIB = torch.device("cuda:0"), 2**20


def watched(*levels: float | None) -> GpuWatch:
    """A watch that reads these, one after the other."""
    return GpuWatch(iter(levels).__next__)


def seen(watch: GpuWatch, ending: Ending = Ending.COMPLETED) -> float:
    return watch.observed(CELL, lambda: completed(CELL, Device.CUDA, ending=ending)).evidence.left_on_gpu_mib


def test_a_cell_says_what_it_left_where_it_is_not_the_first_of_its_kind() -> None:
    watch = watched(300.0, 900.0, 900.0, 1000.0, 1000.0, 1001.0)
    assert [seen(watch) for _ in range(3)] == [0.0, 100.0, 0.0]
    assert (watch.last, watch.growth.mib, watch.growth.cells) == (1001.0, 101.0, 2)


def test_where_nobody_reads_nothing_is_said() -> None:
    watch = watched(None, None, 5.0, None)
    assert [seen(watch), seen(watch)] == [0.0, 0.0]
    assert (watch.last, watch.growth.cells) == (None, 0)


def test_a_lost_device_is_not_asked() -> None:
    assert seen(watched(300.0), Ending.DEVICE_LOST) == 0.0


def test_on_a_cpu_there_is_nothing_to_read() -> None:
    watch = GpuWatch(reader(torch.device("cpu"), alone=True))
    run: Observation = completed(CELL)
    assert watch.observed(CELL, lambda: run) is run
    assert watch.held() == {}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with a GPU, and a driver's library that names processes."""

    def pretend(*processes: tuple[int, int | None], namespace: str = gpu_memory._FIRST_NAMESPACE) -> None:
        named = [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes]
        library = SimpleNamespace(
            nvmlInit=lambda: None,
            nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
            nvmlDeviceGetComputeRunningProcesses=lambda handle: named if handle == "GPU-u" else [],
        )
        monkeypatch.setitem(sys.modules, "pynvml", library)
        monkeypatch.setattr(os, "readlink", lambda path: namespace)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="u"))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device=None: 100 * MIB)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (20 * MIB, 1000 * MIB))

    return pretend


def test_the_driver_is_asked_for_this_process(driver: Any) -> None:
    driver((1, 900 * MIB), (os.getpid(), 350 * MIB))
    assert reader(CUDA, alone=False)() == 250.0


@pytest.mark.parametrize("how", ["of another namespace", "not named", "not said"])
def test_where_the_driver_does_not_know_it_only_who_is_alone_can_tell(driver: Any, how: str) -> None:
    own = 1 if how == "not named" else os.getpid()
    used = None if how == "not said" else 350 * MIB
    driver((own, used), **({"namespace": "pid:[4026532000]"} if how == "of another namespace" else {}))
    assert reader(CUDA, alone=False)() is None
    assert reader(CUDA, alone=True)() == 880.0


def test_without_the_drivers_library_only_who_is_alone_can_tell(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver((os.getpid(), 350 * MIB))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert reader(CUDA, alone=False)() is None
    assert reader(CUDA, alone=True)() == 880.0
