"""What a checkpoint lacks, and what that is to the verdict."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conformance.bench import Bench
from conformance.models.fixtures import fixture
from conformance.models.loading import raise_to
from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED
from matrix.observation import Observation
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict, judge
from tests.builders import ARCHITECTURES

CELLS = [
    "llama-float32-sdpa-left-prefill",
    "llama-bfloat16-sdpa-left-generate",
    "llama-bfloat16-sdpa-left-stepwise",
    "llama-float16-eager-left-prefill",
    "llama-bfloat16-sdpa-nf4-left-prefill",
]


def judged(cell_id: str, checkpoint: Path) -> tuple[Observation, Judgement]:
    bench = Bench(
        device=Device.CPU,
        architectures=ARCHITECTURES,
        fixture_cache=checkpoint.parent / "unused",
        checkpoints={"llama": str(checkpoint)},
    )
    cell = parse_cell(cell_id)
    observation = bench.run(cell)
    return observation, judge(cell, ARCHITECTURES["llama"], observation, SUPPORTED, Device.CPU)


def checkpoint(folder: Path, how: str) -> Path:
    """A Llama that lacks something."""
    made = fixture(ARCHITECTURES["llama"], folder)
    weights = load_file(made / "model.safetensors")
    kept = {
        "nothing": weights,
        "every name": {f"other.{name}": tensor for name, tensor in weights.items()},
        "a layer": {name: tensor for name, tensor in weights.items() if ".layers.1." not in name},
        "a projection": {name: tensor for name, tensor in weights.items() if "layers.0.self_attn.q_proj" not in name},
    }[how]
    (folder / "mine").mkdir()
    save_file(kept, folder / "mine" / "model.safetensors", metadata={"format": "pt"})
    (folder / "mine" / "config.json").write_bytes((made / "config.json").read_bytes())
    return folder / "mine"


@pytest.mark.parametrize("how", ["every name", "a layer", "a projection"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_that_were_never_loaded_are_never_green(tmp_path: Path, cell: str, how: str) -> None:
    """Candidate, baseline and golden would each draw their own."""
    observation, judgement = judged(cell, checkpoint(tmp_path, how))
    assert judgement.verdict is Verdict.INACCURATE
    assert "the checkpoint lacks" in judgement.reason
    assert "LlamaForCausalLM" in judgement.reason
    assert any("q_proj" in name for name in observation.evidence.missing_parameters)


@pytest.mark.parametrize("cell", CELLS)
def test_a_checkpoint_that_lacks_nothing_is_judged_by_its_numbers(tmp_path: Path, cell: str) -> None:
    observation, judgement = judged(cell, checkpoint(tmp_path, "nothing"))
    assert observation.evidence.missing_parameters == ()
    assert "the checkpoint lacks" not in judgement.reason
    assert judgement.verdict is Verdict.SUPPORTED or "nf4" in cell  # which has a known fault on some CPUs


def test_what_is_complex_stays_so_in_another_dtype() -> None:
    """Module.to makes real numbers of it, and a rotation of Llama 4 none."""
    model = torch.nn.Linear(2, 2)
    model.register_buffer("turn", torch.tensor([1j]))
    model.register_buffer("count", torch.tensor([1]))
    raise_to(model, torch.float64)
    assert (model.weight.dtype, model.turn.dtype, model.count.dtype) == (torch.float64, torch.complex128, torch.int64)
    assert model.turn[0] == 1j
