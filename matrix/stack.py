"""The libraries and the device that a run measures, as plain data."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

# Distribution names as pip knows them. Absent ones are left out of a stack.
DISTRIBUTIONS = (
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "bitsandbytes",
    "optimum",
    "flash-attn",
    "flash-attn-3",
    "flash-attn-4",
    "kernels",
    "tokenizers",
    "safetensors",
    "triton",
)

# Processor features on which libraries choose other code paths.
CPU_FLAGS = ("avx512_bf16", "amx_bf16")


class Device(StrEnum):
    """Where candidates run."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver reports it."""

    name: str
    memory_mib: int
    capability: str  # "9.0"


@dataclass(frozen=True)
class Stack:
    """What is installed and where it runs."""

    versions: Mapping[str, str]  # by distribution name
    device: Device
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""  # the CUDA version that torch was built for
    compiler: bool = True  # whether a C++ compiler is on the PATH (inductor needs one on a CPU)
    cpu_flags: tuple[str, ...] = ()  # of CPU_FLAGS, those that the processor has

    def lacks(self, requirement: str) -> bool:
        """Whether `cuda`, `compiler`, the CPU flag or the distribution of that name is not here."""
        if requirement == "cuda":
            return self.device is not Device.CUDA
        if requirement == "compiler":
            return not self.compiler
        return requirement not in self.versions and requirement not in self.cpu_flags


def installed_versions() -> dict[str, str]:
    """The installed version of each library of interest, read without importing any."""
    versions: dict[str, str] = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def visible_gpus() -> tuple[tuple[Gpu, ...], str]:
    """The GPUs that `nvidia-smi` names and CUDA_VISIBLE_DEVICES allows, and the driver's version.

    The controller must never initialise CUDA, and `nvidia-smi` does not.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return (), ""
    query = [program, "--query-gpu=name,memory.total,compute_cap,driver_version", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode != 0:
        return (), ""
    rows = [[part.strip() for part in line.split(",")] for line in answer.stdout.splitlines() if line.count(",") == 3]
    gpus = [Gpu(name, int(memory), capability) for name, memory, capability, _ in rows if memory.isdigit()]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        indices = [int(part) for part in allowed.split(",") if part.strip().isdigit()]
        gpus = [gpus[index] for index in indices if index < len(gpus)]
    return tuple(gpus), rows[0][3] if rows else ""


def detect_stack() -> Stack:
    """The stack of this environment, without importing torch.

    A torch built for the CPU makes it a CPU stack whatever GPUs there are.
    """
    versions = installed_versions()
    gpus, driver = visible_gpus()
    local = versions.get("torch", "").partition("+")[2]
    usable = bool(gpus) and local != "cpu" and "torch" in versions
    compiler = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return Stack(
        versions=versions,
        device=Device.CUDA if usable else Device.CPU,
        gpus=gpus if usable else (),
        driver=driver if usable else "",
        cuda=local if local.startswith("cu") else "",
        compiler=compiler,
        cpu_flags=_cpu_flags(),
    )


def _cpu_flags() -> tuple[str, ...]:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return ()
    return tuple(flag for flag in CPU_FLAGS if flag in words)
