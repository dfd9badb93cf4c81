"""Models of real shapes with random weights, made on the device in a moment, under each attention implementation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from conformance import spellings

# No limit of the shapes: it only keeps releases from warning of, or refusing, the lengths that are measured.
_POSITIONS = 32768


@dataclass(frozen=True)
class Shape:
    """The config of a model."""

    name: str
    model_type: str
    config: Mapping[str, Any]

    def model(self, attention: str, dtype: torch.dtype, **changes: Any) -> Any:
        """A model as the library initialises it, on the device that torch is told to use."""
        config = transformers.AutoConfig.for_model(self.model_type, **{**self.config, **changes})
        given = {spellings.DTYPE_ARGUMENT: dtype, "attn_implementation": attention}
        with spellings.default_dtype_kept():
            return transformers.AutoModelForCausalLM.from_config(config, **given).eval()


LLAMA_7B = Shape(
    "Llama-7B",
    "llama",
    {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": _POSITIONS,
    },
)
FALCON_7B = Shape(
    "Falcon-7B",
    "falcon",
    {
        "vocab_size": 65024,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "multi_query": True,
        "new_decoder_architecture": False,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
        "max_position_embeddings": _POSITIONS,
    },
)
OPT_350M = Shape(
    "OPT-350m",
    "opt",
    {
        "vocab_size": 50272,
        "hidden_size": 1024,
        "word_embed_proj_dim": 512,
        "ffn_dim": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "max_position_embeddings": 2048,
        "do_layer_norm_before": False,
    },
)


class Weights:
    """One set of random weights, and a model around them for each attention implementation.

    A release that can exchange the implementation of a model cannot do so for all (Falcon has a class for each), so
    a twin is always built anew, without storage, and given the weights of the first. On a GPU the library's own
    initialisation takes less than a second for 7B.
    """

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
        self.shape = shape
        self._dtype = dtype
        torch.manual_seed(0)
        with device:
            first = shape.model("eager", dtype)
        self._models = {"eager": first}

    def under(self, attention: str) -> Any:
        """The model with that attention implementation.

        Raises:
            Exception: the library refuses it, in its own words.
        """
        if attention not in self._models:
            with torch.device("meta"):
                twin = self.shape.model(attention, self._dtype)
            first = self._models["eager"]
            for kind, tensors in (
                ("_parameters", first.named_parameters(remove_duplicate=False)),
                ("_buffers", first.named_buffers(remove_duplicate=False)),
            ):
                for name, tensor in tensors:
                    owner, _, leaf = name.rpartition(".")
                    getattr(twin.get_submodule(owner), kind)[leaf] = tensor
            self._models[attention] = twin
        return self._models[attention]
