"""Memory that was not enough, told by what torch says of it."""

import pytest

from matrix.observation import Failure, Phase
from matrix.shortage import figures_in, in_use_by_others, is_of_the_host, is_told_by
from matrix.stack import Gpu
from tests.builders import cuda_stack

OF_TORCH = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.50 GiB is "
    "free. Process 12 has 77.60 GiB memory in use. Of the allocated memory 61.00 GiB is allocated by PyTorch"
)
OF_THE_HOST = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


@pytest.mark.parametrize(
    ("used", "said"),
    [
        (None, []),
        (0, []),
        (1023, []),
        (71680, ["GPU 0: 70.0 GiB of 80.0 GiB are in use by others"]),
        (90000, ["GPU 0: 80.0 GiB of 80.0 GiB are in use by others"]),
    ],
)
def test_a_neighbour_is_noticed_where_it_holds_much(used: int | None, said: list[str]) -> None:
    assert list(in_use_by_others([Gpu("H100", 81920, "9.0", used_mib=used)])) == said


def test_each_neighbour_has_the_number_of_its_gpu() -> None:
    gpus = [Gpu("H100", 81920, "9.0"), Gpu("H100", 81920, "9.0", used_mib=2048)]
    assert list(in_use_by_others(gpus)) == ["GPU 1: 2.0 GiB of 80.0 GiB are in use by others"]


def test_a_gpu_is_the_same_whatever_others_hold_of_it() -> None:
    empty, taken = (cuda_stack(gpus=(Gpu("H100", 81920, "9.0", used_mib=used),)) for used in (0, 71680))
    assert empty == taken
    assert [stack.gpus[0].free_mib for stack in (empty, taken)] == [81920, 10240]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("CUDA error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        (OF_THE_HOST, True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", False),
        ("expected mat1 and mat2 to have the same dtype", False),
    ],
)
def test_errors_of_no_type_of_their_own_are_told_by_their_words(message: str, told: bool) -> None:
    assert is_told_by(message) is told


def test_figures_are_said_where_torch_says_them() -> None:
    assert figures_in(OF_TORCH) == "asked for 20.00 GiB, 1.50 GiB of 79.10 GiB were free"
    assert figures_in("CUDA error: out of memory") == figures_in("Tried to allocate 20.00 GiB.") == ""


@pytest.mark.parametrize(
    ("kind", "message", "host"),
    [
        ("MemoryError", "", True),
        ("ProcessDied", "", True),
        ("RuntimeError", OF_THE_HOST, True),
        ("OutOfMemoryError", OF_TORCH, False),
        ("RuntimeError", "CUDA error: out of memory", False),
    ],
)
def test_whose_memory_it_was(kind: str, message: str, host: bool) -> None:
    assert is_of_the_host(Failure(Phase.FORWARD, kind, message)) is host
