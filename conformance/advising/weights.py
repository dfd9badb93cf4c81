"""Weights for a config alone: random, of such sizes that a mistake in attention shows."""

import math
import re
from pathlib import Path
from typing import Any

import torch
import transformers

from conformance.models.recipe import ATTENTION_GAIN, EMBEDDING, MLP_GAIN, TIED_EMBEDDING
from conformance.spellings import DTYPE_ARGUMENT, default_dtype_kept
from matrix.stack import Device

_IN_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


def make_checkpoint(config_folder: str, auto_class: str, device: Device, target: Path) -> None:
    """A checkpoint of the config's shapes, in the dtype that it names: sizes as in the recipe of fixtures.

    Those are set by measurement; here nothing is measured, for it would take as long as the advice.
    """
    config = transformers.AutoConfig.from_pretrained(config_folder)
    dtype = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None) or torch.float32
    where = torch.device("cuda:0" if device is Device.CUDA else "cpu")
    with default_dtype_kept(), torch.no_grad(), where:
        model = getattr(transformers, auto_class).from_config(config, **{DTYPE_ARGUMENT: dtype})
        torch.manual_seed(0)
        tied = _tied(model)
        for name, parameter in model.named_parameters():
            _draw(name, parameter, model, tied)
    model.save_pretrained(target, max_shard_size="4GB")


def _draw(name: str, parameter: torch.Tensor, model: Any, tied: torch.Tensor | None) -> None:
    owner_name, _, kind = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    if "norm" in type(owner).__name__.lower() or (parameter.ndim < 2 and kind == "bias"):
        one = float(parameter.float().mean().round()) if kind != "bias" else 0.0
        parameter.normal_(one, 0.1)
    elif isinstance(owner, torch.nn.Embedding):
        parameter.normal_(0, TIED_EMBEDDING if parameter is tied else EMBEDDING)
    elif parameter.ndim == 2 and kind == "weight":
        gain = ATTENTION_GAIN if _IN_ATTENTION.search(name) else MLP_GAIN
        fan_in = parameter.shape[0 if type(owner).__name__ == "Conv1D" else 1]
        parameter.normal_(0, gain / math.sqrt(fan_in))


def _tied(model: Any) -> torch.Tensor | None:
    head = model.get_output_embeddings()
    try:
        embedded = model.get_input_embeddings().weight
    except (AttributeError, NotImplementedError):
        return None
    return embedded if head is not None and getattr(head, "weight", None) is embedded else None
