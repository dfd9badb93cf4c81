"""LoRA adapters in plain torch."""

from pathlib import Path

import pytest
import torch
import transformers

from conformance.adapters import ALPHA, RANK, Lora, linear_modules
from tests.placed import empty
from tests.rooms import observed


def small(name: str = "gpt2") -> torch.nn.Module:
    torch.manual_seed(0)
    config = empty(name).config
    auto = transformers.AutoModelForMaskedLM if name == "bert" else transformers.AutoModelForCausalLM
    return auto.from_config(config).eval()


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_all_linear_modules_are_adapted_but_the_head(name: str) -> None:
    model = small(name)
    names = {name for name, _, _ in linear_modules(model)}
    head = {name for name, module in model.named_modules() if module is model.get_output_embeddings()}
    linear = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
    }
    assert names == linear - head
    assert head


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_beside_the_weights_and_in_them_it_says_the_same(name: str) -> None:
    model, tokens = small(name), torch.arange(4, 24)[None]
    lora = Lora(model, seed=1)
    with torch.no_grad():
        plain = model(tokens).logits
        merged = small(name)
        lora.spell_out(merged, merged=True)
        lora.spell_out(model)
        beside = model(tokens).logits
        assert torch.allclose(beside, merged(tokens).logits, atol=1e-4)
        assert float((beside - plain).abs().max()) > 1e-2


def test_what_one_module_says() -> None:
    model = small("llama")
    lora, name = Lora(model, seed=1), "model.layers.1.mlp.down_proj"
    module = model.get_submodule(name)
    given = torch.randn(3, module.in_features)
    before = module(given)
    lora.spell_out(model, 0.5)
    down, up = lora.pairs[name]
    assert torch.allclose(module(given), before + 0.5 * ALPHA / RANK * given @ (up @ down).T, atol=1e-5)


def test_what_is_written_is_what_peft_reads(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, tokens = small("gpt2"), torch.arange(4, 24)[None]
    lora = Lora(model, seed=1)
    folder = lora.write(tmp_path / "lora", "nowhere")
    with torch.no_grad():
        spoken = small("gpt2")
        lora.spell_out(spoken)
        read = peft.PeftModel.from_pretrained(model, folder).eval()
        assert torch.allclose(read(tokens).logits, spoken(tokens).logits, atol=1e-4)


def test_what_peft_writes_of_a_base_on_the_disk_stays_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    observation, _ = observed("llama-float32-sdpa-cpu_disk-left-adapter_by_peft", tmp_path / "fixtures")
    assert observation.failure is None or observation.failure.type == "NotImplementedError", "it came as far as peft"
    assert not list(here.iterdir())
