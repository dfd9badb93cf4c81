"""Checkpoints in a format: which weights are quantised, and what lies beside them."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from conformance.models.fixtures import fixture, formats_folder
from conformance.models.formats import FORMATTED, TWIN, Plain, in_format, quantised_modules
from conformance.models.loading import Source, make_empty
from conformance.models.saved import layout, what_is_wrong
from conformance.rooms import doing
from matrix.cell import parse_cell
from tests.builders import ARCHITECTURES


def source(name: str, cache: Path) -> Source:
    architecture = ARCHITECTURES[name]
    return Source(architecture, str(fixture(architecture, cache)), formats=str(formats_folder(cache)))


def written(cell_id: str, cache: Path) -> Path:
    cell = parse_cell(cell_id)
    given = source(cell.architecture, cache)
    found: Path = in_format(cell, given, doing(cell), lambda: make_empty(given, torch.float32))
    return found


@pytest.mark.parametrize("name", ["llama", "t5", "qwen3_moe", "qwen3_tied"])
def test_heads_routers_and_what_is_kept_are_left_as_they_are(cache: Path, name: str) -> None:
    given = source(name, cache)
    plain = Plain(given.checkpoint, make_empty(given, torch.float32), torch.bfloat16)
    assert plain.chosen
    assert not [name for name in plain.chosen if "lm_head" in name or "gate.weight" in name or ".wo." in name]
    assert all(("experts" in name) == ("mlp" in name) for name in plain.chosen) or name != "qwen3_moe"
    assert plain.tensors[plain.chosen[0]].dtype is torch.float32
    assert {tensor.dtype for key, tensor in plain.tensors.items() if key not in plain.chosen} == {torch.bfloat16}


def test_a_model_without_linear_modules_is_not_written(cache: Path) -> None:
    given = source("gpt2", cache)
    with pytest.raises(RuntimeError, match="no linear module"):
        Plain(given.checkpoint, make_empty(given, torch.float32), torch.float32)


def test_the_checkpoint_and_its_twin_are_whole(cache: Path) -> None:
    folder = written("qwen3_moe-bfloat16-sdpa-fp8-left-prefill", cache)
    assert what_is_wrong(folder / FORMATTED) == what_is_wrong(folder / TWIN) == []
    said = json.loads((folder / FORMATTED / "config.json").read_text())["quantization_config"]
    assert said["modules_to_not_convert"] == ["lm_head"]
    codes = {name for name, (dtype, _) in layout(folder / FORMATTED).items() if dtype == "F8_E4M3"}
    assert sum(".experts." in name for name in codes) == 2 * 8 * 3
    assert set(layout(folder / FORMATTED)) - set(layout(folder / TWIN)) == {f"{name}_scale_inv" for name in codes}
    assert {dtype for dtype, _ in layout(folder / TWIN).values()} == {"F32"}


def test_it_is_written_once(cache: Path) -> None:
    folder = written("llama-bfloat16-sdpa-fp8-left-prefill", cache)
    when = (folder / TWIN / "config.json").stat().st_mtime_ns
    assert written("llama-bfloat16-sdpa-fp8_dequantised-left-prefill", cache) != folder
    assert written("llama-bfloat16-eager-fp8-left-reload", cache) == folder
    assert (folder / TWIN / "config.json").stat().st_mtime_ns == when


def test_a_tied_head_is_no_module_that_is_quantised() -> None:
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    names = quantised_modules(transformers.LlamaForCausalLM(config))
    assert len(names) == 7
    assert "lm_head" not in names
