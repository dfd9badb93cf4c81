"""The last block of each stack on the CPU."""

import transformers

from conformance.placements.cpu_offload import offload_map
from tests.builders import ARCHITECTURES


def test_the_offload_map_covers_every_module_once() -> None:
    config = transformers.AutoConfig.for_model("llama", **ARCHITECTURES["llama"].config)
    model = transformers.AutoModelForCausalLM.from_config(config)
    placed = offload_map(model)
    assert {name for name, place in placed.items() if place == "cpu"} == {"model.layers.1"}
    for name, _ in model.named_parameters():
        assert sum(name.startswith(prefix + ".") for prefix in placed) == 1, name
