"""Device maps as people write them."""

import transformers

from conformance.maps import map_with_last_away
from tests.builders import ARCHITECTURES


def test_the_map_covers_every_module_once() -> None:
    config = transformers.AutoConfig.for_model("llama", **ARCHITECTURES["llama"].config)
    model = transformers.AutoModelForCausalLM.from_config(config)
    placed = map_with_last_away(model, 0, "cpu")
    assert {name for name, place in placed.items() if place == "cpu"} == {"model.layers.1"}
    for name, _ in model.named_parameters():
        assert sum(name.startswith(prefix + ".") for prefix in placed) == 1, name
