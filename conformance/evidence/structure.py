"""What a model is made of, and the evidence of a whole run."""

import dataclasses
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


def structure(model: torch.nn.Module, dtype: torch.dtype) -> Evidence:
    """What a model loaded in `dtype` is made of.

    Taken before it runs: bitsandbytes repacks weights in the first pass.
    """
    linear = {name: module for name, module in model.named_modules() if _is_linear(module)}
    placement: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    foreign: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        placement[parameter.device.type] += 1
        spelled = str(parameter.dtype).removeprefix("torch.")
        dtypes[spelled] += 1
        if parameter.is_floating_point() and parameter.dtype != dtype:
            foreign.setdefault(spelled, []).append(name)
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
        unquantised_linear=tuple(name for name, module in linear.items() if stored_as(module) is None)
        if hasattr(model, "hf_quantizer")
        else (),
        quantised_formats=tuple(sorted({form for module in model.modules() if (form := stored_as(module))})),
        parameter_dtypes=dict(dtypes),
        foreign_parameters={spelled: tuple(names) for spelled, names in foreign.items()},
        placement=dict(placement),
        hf_device_map={key: str(value) for key, value in device_map.items()} if device_map else None,
        weight_bytes=sum(map(bytes_of, model.parameters())),
    )


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
        warnings=tuple(printable(said, places or {})[:_WARNING_LENGTH] for said in list(warned)[:_WARNINGS_KEPT]),
    )


def bytes_of(tensor: torch.Tensor) -> int:
    """The bytes that a tensor takes. One that is made of others claims to be as large as what it stands for."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(bytes_of(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
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
