"""What is said of saved files: those that a reader could not tell are named, whole ones are not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from conformance.models.saved import INDEX, layout, what_is_wrong

PLAIN = {"a.weight": torch.ones(2, 3), "b.weight": torch.ones(4)}
CODES = {"a.weight": torch.ones(2, 3).to(torch.float8_e4m3fn), "a.weight_scale_inv": torch.ones(1, 1)}


def saved(folder: Path, tensors: dict[str, torch.Tensor], method: str | None = None, **index: object) -> Path:
    """Two shards, one tensor each."""
    names = ["one.safetensors", "two.safetensors"]
    where = dict(zip(tensors, names, strict=True))
    for name, file in where.items():
        save_file({name: tensors[name]}, folder / file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    document = {"weight_map": where, "metadata": {"total_size": size}} | index
    (folder / INDEX).write_text(json.dumps(document))
    config = {} if method is None else {"quantization_config": {"quant_method": method}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_nothing_is_wrong_with_whole_files(tmp_path: Path) -> None:
    assert what_is_wrong(saved(tmp_path, PLAIN)) == []
    assert layout(tmp_path) == {"a.weight": ("F32", (2, 3)), "b.weight": ("F32", (4,))}


def test_codes_have_a_method_that_config_names(tmp_path: Path) -> None:
    (words,) = what_is_wrong(saved(tmp_path, CODES))
    assert words == "config.json names no method, and there is a.weight ('F8_E4M3', (2, 3))"
    assert what_is_wrong(saved(tmp_path, CODES, "fp8")) == []


def test_a_method_has_something_to_read(tmp_path: Path) -> None:
    assert what_is_wrong(saved(tmp_path, PLAIN, "fp8")) == ["config.json names fp8, and every tensor is plain"]


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"metadata": {"total_size": 41}}, "the index promises 41 bytes, the shards have 40"),
        (
            {"weight_map": {"a.weight": "one.safetensors", "c.weight": "two.safetensors"}},
            "the index and the shards differ in 2 tensors, such as b.weight",
        ),
        (
            {"weight_map": {"a.weight": "one.safetensors", "b.weight": "three.safetensors"}},
            "the index names three.safetensors, which is not there",
        ),
    ],
)
def test_the_index_is_that_of_the_shards(tmp_path: Path, index: dict[str, object], words: str) -> None:
    assert what_is_wrong(saved(tmp_path, PLAIN, **index)) == [words]


def test_shards_have_an_index(tmp_path: Path) -> None:
    (saved(tmp_path, PLAIN) / INDEX).unlink()
    assert what_is_wrong(tmp_path) == ["there are several shards and no index"]
