"""Bytes of linear weights by format: what C5 and C6 are judged by."""

import tempfile
from collections.abc import Iterator
from typing import Any

import torch
import transformers

from conformance import spellings
from conformance.claims.shapes import LLAMA_7B, Shape
from conformance.quantisers.bitsandbytes import load_arguments
from matrix.claims import Sizes

_UNQUANTISED = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_QUANTISED = ("int8", "fp4", "nf4")
_VOCABULARY = 64  # of the layer that is loaded: its embeddings are left out of the count, so they may be small


def measure_sizes(device: torch.device, shape: Shape = LLAMA_7B) -> Sizes:
    """One layer of the model, saved, and loaded in each format as a user would.

    The layers of a model have the same shape, so that one stands for all; what is no linear weight of a layer
    (embeddings, head, norms) is counted without being made.
    """
    linear: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        with device:
            layer = shape.model("eager", torch.bfloat16, num_hidden_layers=1, vocab_size=_VOCABULARY)
        layer.save_pretrained(folder, safe_serialization=True)
        weights = sum(module.weight.numel() for module in _linear_modules(layer))
        del layer
        for form, dtype in _UNQUANTISED.items():
            linear[form] = _linear_bytes(_loaded(folder, dtype))
        for quantisation in _QUANTISED:
            given = load_arguments(quantisation, torch.bfloat16)
            linear[quantisation] = _linear_bytes(_loaded(folder, torch.bfloat16, **given))
    with torch.device("meta"):
        whole = shape.model("eager", torch.bfloat16)
    layers = whole.config.num_hidden_layers
    # parameters() counts embeddings and a head that is tied to them once, as a checkpoint does.
    others = sum(parameter.numel() for parameter in whole.parameters()) - layers * weights
    return Sizes(shape.name, linear, layers, others)


def _loaded(folder: str, dtype: torch.dtype, **arguments: Any) -> Any:
    given = {spellings.DTYPE_ARGUMENT: dtype, "use_safetensors": True}
    with spellings.default_dtype_kept():
        return transformers.AutoModelForCausalLM.from_pretrained(folder, **given, **arguments)


def _linear_bytes(model: Any) -> int:
    return sum(tensor.nbytes for module in _linear_modules(model) for tensor in _tensors(module))


def _linear_modules(model: Any) -> Iterator[torch.nn.Linear]:
    """Those of the layers: the head stays as it is in every format."""
    head = model.get_output_embeddings()
    return (module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head)


def _tensors(module: torch.nn.Linear) -> Iterator[torch.Tensor]:
    """The weight, and what is needed to read it: the rows' scales of int8, the blocks' scales and codes of 4 bits."""
    yield module.weight
    state = getattr(module.weight, "quant_state", None)
    while state is not None:
        yield from (part for part in (state.absmax, state.code, state.offset) if part is not None)
        state = state.state2
    scales = getattr(getattr(module, "state", None), "SCB", None)
    scales = getattr(module.weight, "SCB", None) if scales is None else scales
    if scales is not None:
        yield scales
