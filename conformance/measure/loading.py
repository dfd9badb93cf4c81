"""from_pretrained for a cell, and the reference models for its golden and baseline runs."""

from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers

from conformance.measure import spellings
from conformance.measure.placement import offload_map
from conformance.measure.quantised import replace_linear
from matrix.architectures import Architecture
from matrix.axes import DeviceMap, Dtype, Quantisation
from matrix.cell import Cell


@dataclass(frozen=True)
class Source:
    """Where an architecture's weights come from."""

    architecture: Architecture
    checkpoint: str  # a folder or a hub id
    trust_remote_code: bool = False


def torch_dtype(dtype: Dtype) -> torch.dtype:
    """The torch dtype of that name."""
    found: torch.dtype = getattr(torch, dtype.value)
    return found


def load_arguments(cell: Cell, source: Source) -> dict[str, Any]:
    """The keyword arguments with which the cell's model is loaded."""
    arguments: dict[str, Any] = {
        spellings.DTYPE_ARGUMENT: torch_dtype(cell.dtype),
        "attn_implementation": cell.attention.value,
        "use_safetensors": True,
        "trust_remote_code": source.trust_remote_code,
    }
    if cell.quantisation is not Quantisation.NONE:
        arguments["quantization_config"] = spellings.quantization_config(cell.quantisation, torch_dtype(cell.dtype))
    if cell.device_map is DeviceMap.GPU0:
        arguments["device_map"] = {"": 0}
    elif cell.device_map is DeviceMap.AUTO:
        arguments["device_map"] = "auto"
    elif cell.device_map is DeviceMap.CPU_OFFLOAD:
        config = transformers.AutoConfig.from_pretrained(source.checkpoint, trust_remote_code=source.trust_remote_code)
        with torch.device("meta"):
            arguments["device_map"] = offload_map(_auto_class(source).from_config(config))
    return arguments


def load(cell: Cell, source: Source) -> torch.nn.Module:
    """The candidate, as from_pretrained leaves it."""
    return _from_pretrained(source, **load_arguments(cell, source))


def reload(cell: Cell, source: Source, folder: str) -> torch.nn.Module:
    """The candidate again, from where it was saved; a quantised checkpoint says itself how it is quantised."""
    saved = replace(source, checkpoint=folder)
    return _from_pretrained(saved, **load_arguments(replace(cell, quantisation=Quantisation.NONE), saved))


def needs_moving(cell: Cell, model: torch.nn.Module, device: torch.device) -> bool:
    """Whether the caller still has to move the model: bitsandbytes places its models itself."""
    if cell.device_map is not DeviceMap.NONE:
        return False
    return any(parameter.device.type != device.type for parameter in model.parameters())


def load_reference(cell: Cell, source: Source, device: torch.device, *, golden: bool) -> torch.nn.Module:
    """Golden (the cell's own weights, upcast) or baseline (the same weights in the cell's dtype).

    Quantised weights are taken from bitsandbytes and given their meaning in plain torch: golden holds
    them dequantised; baseline holds them dequantised in the cell's dtype for 4 bits, and
    quantises activations as LLM.int8() does for int8. Neither runs a bitsandbytes kernel.
    """
    dtype = torch_dtype(cell.dtype)
    arguments = {
        spellings.DTYPE_ARGUMENT: dtype,
        "attn_implementation": source.architecture.reference_attention,
    }
    model = _from_pretrained(source, **arguments).to(device)
    if golden:
        model = model.to(golden_dtype(cell.dtype))
    if cell.quantisation is not Quantisation.NONE:
        config = spellings.quantization_config(cell.quantisation, dtype)
        # Not moved: bitsandbytes places its models itself, and transformers 4.x refuses to move int8 ones.
        quantised = _from_pretrained(source, quantization_config=config, **arguments)
        replace_linear(model, quantised, golden=golden)
    return model


def golden_dtype(dtype: Dtype) -> torch.dtype:
    """One precision up: float64 for float32 cells, float32 for the rest."""
    return torch.float64 if dtype is Dtype.FLOAT32 else torch.float32


def _from_pretrained(source: Source, **arguments: Any) -> torch.nn.Module:
    arguments.setdefault("use_safetensors", True)
    arguments.setdefault("trust_remote_code", source.trust_remote_code)
    with spellings.default_dtype_kept():
        model: torch.nn.Module = _auto_class(source).from_pretrained(source.checkpoint, **arguments)
    return model.eval()


def _auto_class(source: Source) -> Any:
    return getattr(transformers, source.architecture.auto_class)
