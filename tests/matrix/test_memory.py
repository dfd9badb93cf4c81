"""Whether a checkpoint fits, from the headers of its files."""

import json
import os
import struct
from pathlib import Path

import pytest

from matrix.axes import Dtype
from matrix.errors import UsageError
from matrix.memory import free_bytes, lacking, parameters_of, workers_that_fit
from matrix.stack import Device, Gpu, Stack

CPU = Stack({}, Device.CPU)
CUDA = Stack({}, Device.CUDA, gpus=(Gpu("H100", 80_000, "9.0"), Gpu("H100", 80_000, "9.0")))
GIB = 2**30


def shard(path: Path, shapes: dict[str, list[int]], *, cut: int = 0) -> None:
    """A safetensors file of bfloat16 zeros; the last `cut` bytes of it are lost."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (rows, columns) in shapes.items():
        size = 2 * rows * columns
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [end, end + size]}
        end += size
    said = json.dumps(header).encode()
    whole = struct.pack("<Q", len(said)) + said + bytes(end)
    path.write_bytes(whole[: len(whole) - cut])


def test_parameters_are_counted_over_all_shards(tmp_path: Path) -> None:
    shard(tmp_path / "model-00001-of-00002.safetensors", {"a": [3, 5], "b": [2, 2]})
    shard(tmp_path / "model-00002-of-00002.safetensors", {"c": [7, 1]})
    assert parameters_of(tmp_path) == 15 + 4 + 7


def test_what_lies_beside_the_weights_once_more_does_not_count_twice(tmp_path: Path) -> None:
    shard(tmp_path / "consolidated.safetensors", {"a": [3, 5]})
    assert parameters_of(tmp_path) == 15
    shard(tmp_path / "model-00001-of-00001.safetensors", {"a": [3, 5]})
    assert parameters_of(tmp_path) == 15
    shard(tmp_path / "model.safetensors", {"a": [3, 4]})
    assert parameters_of(tmp_path) == 12


@pytest.mark.parametrize("cut", [1, 60, 200])
def test_a_file_that_was_not_copied_whole_is_named(tmp_path: Path, cut: int) -> None:
    shard(tmp_path / "model.safetensors", {"a": [3, 5]}, cut=cut)
    with pytest.raises(UsageError, match=r"model\.safetensors is damaged or was not copied whole"):
        parameters_of(tmp_path)


@pytest.mark.parametrize("said", [b"", b"\xff" * 9, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 7) + b'{"a":1}'])
def test_what_is_no_safetensors_file_is_named(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(said)
    with pytest.raises(UsageError, match="damaged"):
        parameters_of(tmp_path)


@pytest.mark.parametrize(
    ("stack", "dtype", "parameters", "free", "said"),
    [
        (CPU, Dtype.BFLOAT16, GIB, 5 * GIB, ""),
        (CPU, Dtype.BFLOAT16, GIB, 4 * GIB, "4.4 GiB of memory (4.0 GiB are there)"),
        (CPU, Dtype.FLOAT32, GIB, 5 * GIB, "8.8 GiB of memory (5.0 GiB are there)"),
        (CUDA, Dtype.BFLOAT16, GIB, 3 * GIB, ""),  # golden is made on the GPU
        (CUDA, Dtype.BFLOAT16, GIB, 2 * GIB, "2.2 GiB of memory (2.0 GiB are there)"),
        (CUDA, Dtype.BFLOAT16, 20 * GIB, 90 * GIB, "88.0 GiB on a GPU (78.1 GiB are there)"),
    ],
)
def test_golden_must_fit_where_it_is_made(stack: Stack, dtype: Dtype, parameters: int, free: int, said: str) -> None:
    assert lacking(parameters, dtype, stack, free) == said


@pytest.mark.parametrize(
    ("stack", "parameters", "free", "workers"),
    [(CPU, GIB, 20 * GIB, 2), (CPU, 9 * GIB, GIB, 1), (CUDA, 2 * GIB, 500 * GIB, 8), (CUDA, 2 * GIB, 20 * GIB, 2)],
)
def test_no_more_processes_than_may_each_have_the_largest_model(
    stack: Stack, parameters: int, free: int, workers: int
) -> None:
    assert workers_that_fit(parameters, stack, free) == workers


def test_this_machine_has_some_memory_left() -> None:
    assert 2**20 < free_bytes() < 2**50


@pytest.mark.parametrize(
    "tensor",
    [
        {"shape": [2.5], "data_offsets": [0, 8]},
        {"shape": [-2, -2], "data_offsets": [0, 8]},
        {"shape": "ab", "data_offsets": [0, 8]},
        {"shape": [True], "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [0, float("nan")]},
        {"shape": [2**60], "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [8]},
        5,
    ],
)
def test_a_header_of_other_things_than_sizes_is_damaged(tmp_path: Path, tensor: object) -> None:
    header = json.dumps({"a": tensor}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(UsageError, match=r"model\.safetensors is damaged"):
        parameters_of(tmp_path)


def test_a_header_without_end_and_a_file_that_is_none_are_damaged(tmp_path: Path) -> None:
    header = b"[" * 100_000
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(UsageError, match=r"a\.safetensors is damaged"):
        parameters_of(tmp_path)
    (tmp_path / "a.safetensors").unlink()
    os.mkfifo(tmp_path / "b.safetensors")
    with pytest.raises(UsageError, match=r"b\.safetensors is damaged"):
        parameters_of(tmp_path)
