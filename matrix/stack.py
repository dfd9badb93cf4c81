"""The libraries and the device that a run measures, as plain data."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from matrix.caches import CACHES
from matrix.placements import PLACEMENTS
from matrix.quantisers import QUANTISATIONS
from matrix.transformations import TRANSFORMATIONS
from matrix.workloads import WORKLOADS

# Distribution names as pip knows them, those that rooms need last. Absent ones are left out of a stack.
_KNOWN = (
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "bitsandbytes",
    "optimum",
    "flash-attn",
    "flash-attn-3",
    "flash-attn-4",
    "mslk",
    "kernels",
    "tokenizers",
    "safetensors",
    "triton",
)
_NEEDED = {
    name: None
    for rooms in (QUANTISATIONS, TRANSFORMATIONS, PLACEMENTS, CACHES, WORKLOADS)
    for room in rooms.values()
    for name in room.needs
}
DISTRIBUTIONS = tuple(dict.fromkeys((*_KNOWN, *_NEEDED)))
# Touch no cell but those that need them, which do not run without: a stack that lacks one is no other to the rest.
NEEDED_ALONE = tuple(name for name in _NEEDED if name not in _KNOWN)

# Processor features on which libraries choose other code paths.
CPU_FLAGS = ("avx512_bf16", "amx_bf16")

# What a rule or --require may call for.
REQUIREMENTS = ("cuda", "compiler", *CPU_FLAGS, *DISTRIBUTIONS)


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
    # By others, before this run asked for any of it. No property of the GPU: one with less of it free is the same.
    used_mib: int | None = field(default=None, compare=False)

    @property
    def free_mib(self) -> int:
        """What was left of it then."""
        return max(0, self.memory_mib - (self.used_mib or 0))


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

    @property
    def hardware(self) -> str:
        """The names of its GPUs, or the device where there is none."""
        return ", ".join(gpu.name for gpu in self.gpus) or self.device.value

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
    fields = "name,memory.total,compute_cap,driver_version,uuid,memory.used"
    query = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode != 0:
        return (), ""
    rows = [[part.strip() for part in line.split(",")] for line in answer.stdout.splitlines() if line.count(",") == 5]
    gpus = {
        uuid: Gpu(
            name=name,
            memory_mib=int(total) if total.isdigit() else 0,
            capability=capability,
            used_mib=int(used) if used.isdigit() else None,
        )
        for name, total, capability, _, uuid, used in rows
    }
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = list(gpus.values()) if allowed is None else list(_allowed(gpus, allowed))
    return tuple(chosen), rows[0][3] if rows else ""


def _allowed(gpus: Mapping[str, Gpu], visible: str) -> Iterator[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES names by index or UUID; as CUDA does, stop at the first bad name."""
    for name in (part.strip() for part in visible.split(",")):
        if name.isdigit() and int(name) < len(gpus):
            yield list(gpus.values())[int(name)]
        elif name.startswith("GPU-") and (found := [gpu for uuid, gpu in gpus.items() if uuid.startswith(name)]):
            yield found[0]
        elif name.startswith("MIG-") and gpus:
            yield next(iter(gpus.values()))  # nvidia-smi does not say of which GPU it is a part
        else:
            return


def detect_stack() -> Stack:
    """The stack of this environment, without importing torch.

    A torch built for the CPU makes it a CPU stack whatever GPUs there are.
    """
    versions = installed_versions()
    gpus, driver = visible_gpus()
    cuda = _cuda_of_torch() if "torch" in versions else ""
    usable = bool(gpus) and bool(cuda)
    compiler = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return Stack(
        versions=versions,
        device=Device.CUDA if usable else Device.CPU,
        gpus=gpus if usable else (),
        driver=driver if usable else "",
        cuda=cuda,
        compiler=compiler,
        cpu_flags=_cpu_flags(),
    )


def _cuda_of_torch() -> str:
    """The CUDA version that the installed torch was built for, or empty, read from its version file."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return found[1] if found else ""


def _cpu_flags() -> tuple[str, ...]:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return ()
    return tuple(flag for flag in CPU_FLAGS if flag in words)
