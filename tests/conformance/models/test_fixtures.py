"""Checkpoints made on the spot, once."""

import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from conformance.models.fixtures import fixture
from tests.builders import ARCHITECTURES


def _build(cache: str) -> str:
    return str(fixture(ARCHITECTURES["opt"], Path(cache)))


def test_a_fixture_is_built_once_by_whoever_comes_first(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = pool.map(_build, [str(tmp_path)] * 2)
    assert len(set(folders)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [Path(folders[0]).name]
    assert (Path(folders[0]) / "model.safetensors").is_file()


def test_another_seed_or_config_is_another_fixture(tmp_path: Path) -> None:
    assert fixture(ARCHITECTURES["opt"], tmp_path, seed=0) != fixture(ARCHITECTURES["opt"], tmp_path, seed=1)


def damaged(folder: Path, how: str, other: Path) -> None:
    weights = folder / "model.safetensors"
    match how:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "empty":
            weights.write_bytes(b"")
        case "a bit flipped":
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
        case "the weights are gone":
            weights.unlink()
        case "the config of another model":
            (folder / "config.json").write_bytes((other / "config.json").read_bytes())
        case "another model":
            for path in other.iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
        case "a file in its place":
            shutil.rmtree(folder)
            folder.write_text("no folder")
        case "an empty folder":
            shutil.rmtree(folder)
            folder.mkdir()


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "empty",
        "a bit flipped",
        "the weights are gone",
        "the config of another model",
        "another model",
        "a file in its place",
        "an empty folder",
    ],
)
def test_a_damaged_fixture_is_named_and_built_anew(tmp_path: Path, how: str) -> None:
    folder = fixture(ARCHITECTURES["gpt2"], tmp_path)
    honest = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = fixture(ARCHITECTURES["llama"], tmp_path)
    damaged(folder, how, other)
    with pytest.warns(UserWarning, match=f"the fixture {folder.name} is built anew: "):
        assert fixture(ARCHITECTURES["gpt2"], tmp_path) == folder
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name, content in honest.items() if found.get(name) != content} == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, other.name])


def test_a_head_that_is_said_to_be_one_of_its_own_is_in_the_file(cache: Path) -> None:
    """transformers 5 saves T5's embeddings alone all the same, and 4.x would draw what it does not find."""
    weights = load_file(fixture(ARCHITECTURES["t5"], cache) / "model.safetensors")
    assert weights["lm_head.weight"].shape == weights["shared.weight"].shape


def test_what_has_no_head_has_none_in_its_file(tmp_path: Path) -> None:
    bare = replace(
        ARCHITECTURES["bert"],
        auto_class="AutoModel",
        config={**ARCHITECTURES["bert"].config, "tie_word_embeddings": False},
    )
    assert "pooler.dense.weight" in load_file(fixture(bare, tmp_path) / "model.safetensors")
