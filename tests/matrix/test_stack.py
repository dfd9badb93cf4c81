"""The stack: what is lacking, and which GPUs a run may use, told without torch."""

import importlib.machinery
import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from matrix import stack
from matrix.stack import Device, Gpu, detect_stack, visible_gpus
from tests.builders import cuda_stack, make_stack

ROWS = """\
NVIDIA H100 80GB HBM3, 81559, 9.0, 580.95.05, GPU-8932f937-d72c-4106-c12f-20bd9faed9f6, 71680
NVIDIA A100-SXM4-40GB, 40960, 8.0, 580.95.05, GPU-1111f937-d72c-4106-c12f-20bd9faed9f6, 512
NVIDIA L4, 23034, 8.9, 580.95.05, GPU-2222f937-d72c-4106-c12f-20bd9faed9f6, [N/A]
"""
H100, A100, L4 = (
    Gpu("NVIDIA H100 80GB HBM3", 81559, "9.0"),
    Gpu("NVIDIA A100-SXM4-40GB", 40960, "8.0"),
    Gpu("NVIDIA L4", 23034, "8.9"),
)
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make this look like a machine with these programs, these GPUs and this torch."""

    def pretend(
        *,
        programs: tuple[str, ...] = ("nvidia-smi", "g++"),
        rows: str = ROWS,
        torch: str | None = "2.13.0",
        cuda: str = "13.0",
        status: int = 0,
    ) -> None:
        def version(name: str) -> str:
            if name == "torch" and torch is not None:
                return torch
            raise metadata.PackageNotFoundError(name)

        def answer(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            assert command[0] == "/bin/nvidia-smi"
            return subprocess.CompletedProcess(command, status, stdout=rows)

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in programs else None)
        monkeypatch.setattr(subprocess, "run", answer)
        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(stack, "_cuda_of_torch", lambda: cuda)

    return pretend


@pytest.mark.parametrize(
    ("requirement", "here", "lacking"),
    [
        ("cuda", cuda_stack(), make_stack()),
        ("compiler", make_stack(), make_stack(compiler=False)),
        ("avx512_bf16", make_stack(cpu_flags=("avx512_bf16",)), make_stack(cpu_flags=("amx_bf16",))),
        ("flash-attn", make_stack({"flash-attn": "2.8.3"}), make_stack({"flash-attn-3": "3.0"})),
    ],
)
def test_lacks(requirement: str, here: stack.Stack, lacking: stack.Stack) -> None:
    assert not here.lacks(requirement)
    assert lacking.lacks(requirement)


def test_without_nvidia_smi_it_is_a_cpu_stack(machine: Machine) -> None:
    machine(programs=("g++",))
    found = detect_stack()
    assert (found.device, found.gpus, found.driver) == (Device.CPU, (), "")


def test_gpus_are_read_from_nvidia_smi(machine: Machine) -> None:
    machine()
    found = detect_stack()
    assert found.device is Device.CUDA
    assert found.gpus == (H100, A100, L4)
    assert [gpu.used_mib for gpu in found.gpus] == [71680, 512, None]
    assert found.driver == "580.95.05"
    assert not found.lacks("cuda")


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("0", (H100,)),
        ("2", (L4,)),
        ("2,0", (L4, H100)),
        ("0, 1", (H100, A100)),
        ("7", ()),
        ("-1", ()),
        ("", ()),
    ],
)
def test_only_visible_gpus_count(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, visible: str, gpus: tuple[Gpu, ...]
) -> None:
    machine()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = detect_stack()
    assert found.gpus == gpus
    assert found.device is (Device.CUDA if gpus else Device.CPU)


@pytest.mark.parametrize(
    ("torch", "built_for", "device", "cuda"),
    [
        ("2.13.0", "13.0", Device.CUDA, "13.0"),
        ("2.13.0+cpu", "", Device.CPU, ""),
        ("2.13.0+rocm6.4", "", Device.CPU, ""),
        (None, "13.0", Device.CPU, ""),
    ],
)
def test_torch_decides_whether_gpus_can_be_used(
    machine: Machine, torch: str | None, built_for: str, device: Device, cuda: str
) -> None:
    machine(torch=torch, cuda=built_for)
    found = detect_stack()
    assert (found.device, found.cuda) == (device, cuda)
    assert bool(found.gpus) == bool(found.driver) == (device is Device.CUDA)
    assert found.lacks("torch") == (torch is None)


@pytest.mark.parametrize(
    ("line", "cuda"),
    [("cuda: Optional[str] = '13.0'", "13.0"), ("cuda = '12.8'", "12.8"), ("cuda: Optional[str] = None", "")],
)
def test_the_cuda_of_torch_is_read_from_its_version_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, cuda: str
) -> None:
    (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\n{line}\nhip = None\n")
    spec = importlib.machinery.ModuleSpec("torch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert stack._cuda_of_torch() == cuda


@pytest.mark.parametrize("programs", [("g++",), ("clang++",), ("c++",)])
def test_any_cpp_compiler_will_do(machine: Machine, programs: tuple[str, ...]) -> None:
    machine(programs=programs)
    assert not detect_stack().lacks("compiler")
    machine(programs=("gcc",))
    assert detect_stack().lacks("compiler")


@pytest.mark.parametrize(
    ("rows", "status"),
    [("", 0), ("No devices were found\n", 0), ("Failed to initialize NVML: Driver/library version mismatch\n", 18)],
)
def test_a_driver_that_names_no_gpu_is_no_gpu(machine: Machine, rows: str, status: int) -> None:
    machine(rows=rows, status=status)
    assert visible_gpus() == ((), "")


def test_a_driver_that_fails_is_no_gpu_whatever_it_printed(machine: Machine) -> None:
    machine(status=9)
    assert visible_gpus() == ((), "")


def test_absent_libraries_are_left_out(machine: Machine) -> None:
    machine()
    assert dict(detect_stack().versions) == {"torch": "2.13.0"}


UUID = "8932f937-d72c-4106-c12f-20bd9faed9f6"


@pytest.mark.parametrize("visible", [f"GPU-{UUID}", "GPU-8932", f"MIG-{UUID}"])
def test_a_gpu_may_be_named_by_its_uuid(machine: Machine, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    machine()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect_stack().device is Device.CUDA


def test_cuda_stops_at_the_first_index_that_is_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,-1,1")
    assert detect_stack().gpus == (H100,)
