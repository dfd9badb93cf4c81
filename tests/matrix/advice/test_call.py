from dataclasses import replace

import pytest

from matrix.advice.call import TRANSFORMED, Paste, pasted
from matrix.advice.search import Spelled
from matrix.advice.space import Configuration, plain_cell
from matrix.stack import Device
from matrix.transformations import TRANSFORMATIONS
from tests.builders import ARCHITECTURES
from tests.matrix.advice.table import model_of

PASTE = Paste("/models/my 'own'", Device.CUDA, tokenizer=True, new=32, vocabulary=256)
LOADED = Spelled(load=("dtype=torch.bfloat16", 'attn_implementation="sdpa"'))


def test_every_transformation_can_be_written_down() -> None:
    assert TRANSFORMED.keys() == TRANSFORMATIONS.keys()


@pytest.mark.parametrize("name", ["llama", "bert", "t5"])
@pytest.mark.parametrize("tokenizer", [True, False])
def test_a_call_is_python_that_names_what_was_asked_for(name: str, tokenizer: bool) -> None:
    model = model_of(name)
    for transformation in TRANSFORMATIONS.values():
        cell = plain_cell(ARCHITECTURES[name], "bfloat16", "sdpa", "flash")
        one = Configuration(replace(cell, transformation=transformation))
        text = pasted(one, model, LOADED, replace(PASTE, tokenizer=tokenizer))
        compile(text, "pasted", "exec")
        assert "sdpa_kernel([SDPBackend.FLASH_ATTENTION])" in text
        assert '.eval().to("cuda")' in text
        assert TRANSFORMED[transformation] in text
        assert ("tokenizer(" in text) is tokenizer
        assert ("max_new_tokens=32" in text) is (name != "bert")


def test_what_is_placed_or_quantised_is_not_moved() -> None:
    model = model_of()
    spread = Spelled(load=('device_map="auto"',))
    assert ".to(" not in pasted(model.default, model, spread, replace(PASTE, tokenizer=False))
    assert ".to(" not in pasted(model.default, model, spread, replace(PASTE, device=Device.CPU, tokenizer=False))


def test_what_a_quantiser_needs_is_imported() -> None:
    config = "quantization_config=TorchAoConfig(Int8WeightOnlyConfig(version=2))"
    imports = ("from transformers import TorchAoConfig", "from torchao.quantization import Int8WeightOnlyConfig")
    text = pasted(model_of().default, model_of(), Spelled((config,), (), imports), PASTE)
    assert "from transformers import AutoModelForCausalLM, AutoTokenizer, TorchAoConfig" in text
    assert "from torchao.quantization import Int8WeightOnlyConfig" in text
