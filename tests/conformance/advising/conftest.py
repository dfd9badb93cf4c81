"""A model that takes no time, and what is advised of it."""

from pathlib import Path

import pytest
import torch
import transformers

from conformance.advising.command import Asked, advise
from matrix.advice.wanted import Wanted
from reports.advice import Advice

CONFIG = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
WANTED = Wanted(prompt=24, new=4, batches=(1,))
# Few, and none that compiles.
CELLS = (
    "dtype=float32 attention=eager,sdpa,flash_attention_2 sdpa_kernel=unpinned quantisation=none cache=dynamic"
    " transformation=none"
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("advised") / "tiny"
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**CONFIG, initializer_range=0.1)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def asked(checkpoint: Path) -> Asked:
    return Asked(checkpoint, WANTED, minutes=1.0, output=checkpoint.parent / "advice", cells=CELLS)


@pytest.fixture(scope="session")
def advice(asked: Asked) -> Advice:
    return advise(asked, lambda line: None)
