"""Whether a checkpoint fits: what its largest model takes, and what there is."""

import json
import os
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from matrix.axes import Dtype
from matrix.errors import UsageError
from matrix.stack import Device, Stack

# Golden is the largest model of a cell: it is one precision up, and is alone in memory when a checkpoint is large.
_GOLDEN_BYTES = {Dtype.FLOAT32: 8, Dtype.FLOAT16: 4, Dtype.BFLOAT16: 4}
_OWN_BYTES = {Dtype.FLOAT32: 4, Dtype.FLOAT16: 2, Dtype.BFLOAT16: 2}
_BESIDE = 1.1  # what passes through a model, and the parameter that is being converted
_LONGEST_HEADER = 100_000_000  # as the format allows


def parameters_of(folder: Path) -> int:
    """How many numbers the safetensors files of a checkpoint hold, as their headers say.

    The format (huggingface/safetensors): eight bytes with the length of a JSON header, which names each tensor's shape.

    Raises:
        UsageError: a file's header cannot be read.
    """
    count = 0
    for path in weight_files(folder):
        try:
            count += _numbers_in(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
            raise UsageError(f"checkpoint {folder}: {path.name} is damaged or was not copied whole") from None
    return count


def _numbers_in(path: Path) -> int:
    """How many numbers a safetensors file holds.

    Raises:
        Exception: one of many, if the file is anything else.
    """
    if not path.is_file():
        raise ValueError("a folder, a device or a pipe")
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, _LONGEST_HEADER)))
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    if 8 + length + max(_place_of(tensor)[1] for tensor in tensors) > path.stat().st_size:
        raise ValueError("shorter than it says")
    return sum(map(_numbers_of, tensors))


def _numbers_of(tensor: Mapping[str, Any]) -> int:
    numbers = prod(map(_whole, tensor["shape"]))
    begin, end = _place_of(tensor)
    if numbers > 8 * (end - begin):  # of the smallest dtype, one bit each
        raise ValueError("more numbers than bytes for them")
    return numbers


def _place_of(tensor: Mapping[str, Any]) -> tuple[int, int]:
    begin, end = map(_whole, tensor["data_offsets"])
    return begin, end


def _whole(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError("no size")
    return number


def weight_files(folder: Path) -> list[Path]:
    """The files that a load reads: the whole, its shards, or else all. Beside them may lie the same once more."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    shards = folder.glob("model-*-of-*.safetensors")
    return sorted(shards) or sorted(folder.glob("*.safetensors"))


def free_bytes() -> int:
    """The memory of this machine that a process could have now; its whole memory where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def needs(parameters: int, dtype: Dtype, device: Device) -> dict[Device, float]:
    """Bytes of memory that a cell of a checkpoint takes at most, by where: models are loaded by the CPU."""
    golden = _BESIDE * parameters * _GOLDEN_BYTES[dtype]
    if device is Device.CPU:
        return {Device.CPU: golden}
    return {Device.CPU: _BESIDE * parameters * _OWN_BYTES[dtype], Device.CUDA: golden}


def lacking(parameters: int, dtype: Dtype, stack: Stack, free: int) -> str:
    """The memory that a cell of a checkpoint of so many parameters needs and that is not here; empty if it fits.

    `free` are the bytes that this machine has left; a GPU is held to be empty.
    """
    there = {Device.CPU: free, Device.CUDA: max((gpu.memory_mib for gpu in stack.gpus), default=0) * 2**20}
    for device, wanted in needs(parameters, dtype, stack.device).items():
        if wanted > there[device]:
            place = "on a GPU" if device is Device.CUDA else "of memory"
            return f"{_spelled(wanted)} {place} ({_spelled(there[device])} are there)"
    return ""


def _spelled(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size < 2**40 else f"{size / 2**40:.1f} TiB"


def workers_that_fit(parameters: int, stack: Stack, free: int) -> int:
    """How many processes may each have the largest model of such a checkpoint at once; at least one."""
    wanted = needs(parameters, Dtype.FLOAT32, stack.device)
    by_host = int(free // max(1.0, wanted[Device.CPU]))
    if stack.device is Device.CPU:
        return max(1, by_host)
    by_gpu = sum(int(gpu.free_mib * 2**20 // max(1.0, wanted[Device.CUDA])) for gpu in stack.gpus)
    return max(1, min(by_host, by_gpu))
