"""What a model is made of, and the evidence of a whole run."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import torch

from conformance.evidence.watch import Watch
from conformance.models.loading import lacking
from conformance.rooms import stored_as
from matrix.observation import Evidence
from reports.printable import printable

_WARNINGS_KEPT = 8
_WARNING_LENGTH = 300
_SHARE_KEPT = 0.005  # of a model's bytes: biases and norms of usual size are less


def structure(model: torch.nn.Module, dtype: torch.dtype) -> Evidence:
    """What a model loaded in `dtype` is made of.

    Taken before it runs: bitsandbytes repacks weights in the first pass.
    """
    linear = {name: module for name, module in model.named_modules() if _is_linear(module)}
    placement: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    foreign: dict[str, list[str]] = {}
    # A format has numbers of its own kinds, which may pose as any dtype: what they are is for `stored_as` to say. A
    # weight that is made of tensors claims the dtype that it stands for.
    codes = {
        id(parameter)
        for module in model.modules()
        if stored_as(module)
        for name, parameter in module.named_parameters(recurse=False)
        if name.startswith("weight") and not hasattr(parameter, "__tensor_flatten__")
    }
    for name, parameter in model.named_parameters():
        placement[parameter.device.type] += 1
        spelled = str(parameter.dtype).removeprefix("torch.")
        dtypes[spelled] += 1
        if parameter.is_floating_point() and parameter.dtype != dtype and id(parameter) not in codes:
            foreign.setdefault(spelled, []).append(name)
    quantised = hasattr(model, "hf_quantizer")
    left, stacked = _left_as_they_are(model) if quantised else ({}, 0.0)
    device_map, report = getattr(model, "hf_device_map", None), getattr(model, "load_report", {})
    return Evidence(
        model_class=type(model).__name__,
        model_type=getattr(model.config, "model_type", ""),
        missing_parameters=tuple(lacking(model)),
        mismatched_parameters=tuple(
            sorted(f"{name}: {tuple(had)} is {tuple(is_)}" for name, had, is_ in report.get("mismatched_keys", ()))
        ),
        unexpected_parameters=tuple(sorted(report.get("unexpected_keys", ()))),
        attn_implementations=_implementations(model),
        attention_classes=tuple(
            sorted({type(module).__name__ for module in model.modules() if "Attention" in type(module).__name__})
        ),
        linear_classes=dict(Counter(type(module).__name__ for module in linear.values())),
        replaced_forward=dict(Counter(type(module).__name__ for module in model.modules() if _is_replaced(module))),
        unquantised_linear=tuple(name for name, module in linear.items() if stored_as(module) is None)
        if quantised
        else (),
        unquantised_parameters=left,
        unquantised_stacked=stacked,
        quantised_formats=tuple(sorted({form for module in model.modules() if (form := stored_as(module))})),
        parameter_dtypes=dict(dtypes),
        foreign_parameters={spelled: tuple(names) for spelled, names in foreign.items()},
        placement=dict(placement),
        hf_device_map={key: str(value) for key, value in device_map.items()} if device_map else None,
        weight_bytes=sum(map(bytes_of, model.parameters())),
    )


def _is_replaced(module: torch.nn.Module) -> bool:
    """Whether a forward pass of another class was bound to it. What wraps its own is no such method."""
    bound = vars(module).get("forward")
    return getattr(bound, "__self__", None) is module and bound.__func__ is not type(module).forward


def evidence_of(
    watch: Watch, parts: Evidence | None = None, warned: Iterable[str] = (), places: Mapping[str, str] | None = None
) -> Evidence:
    """The evidence of a whole run: what the model is made of, what was called, what was said."""
    return dataclasses.replace(
        parts or Evidence(),
        attention_ops=dict(watch.attention_ops),
        sdpa_calls=watch.sdpa_calls,
        flex_calls=watch.flex_calls,
        unfused_flex_calls=watch.unfused_flex_calls,
        quantised_ops=dict(watch.quantised_ops),
        caches=tuple(watch.caches),
        cache_layers=dict(watch.cache_layers),
        left_by_loads=dict(watch.left_by_loads),
        warnings=tuple(printable(said, places or {})[:_WARNING_LENGTH] for said in list(warned)[:_WARNINGS_KEPT]),
    )


def divided(model: torch.nn.Module, whole: torch.nn.Module, dtype: torch.dtype) -> dict[str, int]:
    """Of how many of its parameters this process holds a part, and what all of the model would take in that dtype.

    `whole` is the model without memory, as the library makes it in one process.

    What a quantiser holds has a shape of its own: of that only tensors that say themselves that they are parts count.
    """
    shapes = {name: parameter.shape for name, parameter in whole.named_parameters()}

    def is_part(name: str, parameter: torch.Tensor) -> bool:
        if hasattr(parameter, "to_local"):
            return bool(parameter.to_local().numel() < parameter.numel())
        return parameter.is_floating_point() and parameter.shape != shapes.get(name, parameter.shape)

    return {
        "divided": sum(is_part(name, parameter) for name, parameter in model.named_parameters()),
        "whole_bytes": sum(parameter.numel() for parameter in whole.parameters()) * dtype.itemsize,
    }


def _left_as_they_are(model: torch.nn.Module) -> tuple[dict[str, float], float]:
    """The parameters of a quantised model that no quantiser holds, by name without the layer's number, largest first:
    their share of all bytes. And the share of those that stack several matrices in one, as experts are held."""
    whole = sum(map(bytes_of, model.parameters()))
    shares: Counter[str] = Counter()
    stacked = 0.0
    for path, module in model.named_modules():
        if stored_as(module) is not None:
            continue
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            share = bytes_of(parameter) / whole
            shares[re.sub(r"(?<=\.)\d+(?=\.)", "*", name)] += share
            if parameter.dim() == 3 and not isinstance(module, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
                stacked += share
    return {name: round(share, 4) for name, share in shares.most_common() if share >= _SHARE_KEPT}, round(stacked, 4)


def bytes_of(tensor: torch.Tensor) -> int:
    """The bytes that a tensor takes. One that is made of others claims to be as large as what it stands for."""
    if hasattr(tensor, "__tensor_flatten__"):
        parts = (getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
        return sum(
            bytes_of(part) for part in parts if isinstance(part, torch.Tensor)
        )  # a part of one names its mesh too
    return tensor.nbytes


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def _implementations(model: torch.nn.Module) -> dict[str, str]:
    """The attn_implementation of every submodule that has a config of its own or a share in one."""
    found: dict[str, str] = {}
    for module in model.modules():
        implementation = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if implementation is not None:
            found[type(module).__name__] = implementation
    return found
