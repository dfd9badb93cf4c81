"""Checkpoints made on the spot, once."""

import multiprocessing
from pathlib import Path

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
