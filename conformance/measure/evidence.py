"""Watching a model run: which ops, classes, formats and devices were really there."""

import contextlib
import dataclasses
import functools
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conformance.measure import spellings
from matrix.observation import Evidence
from reports.printable import printable

_ENCODER_LAYER = "aten::_transformer_encoder_layer_fwd"
WATCHED_PASSES = 3
_WARNINGS_KEPT = 8
_WARNING_LENGTH = 300


class Watch:
    """Counts attention and quantisation calls, and keeps what the libraries warn of, while it is entered."""

    def __init__(self) -> None:
        self.attention_ops: Counter[str] = Counter()
        self.quantised_ops: Counter[str] = Counter()
        self.sdpa_calls = 0
        self.flex_calls = 0
        self.unfused_flex_calls = 0
        self.warnings: dict[str, None] = {}

    @contextlib.contextmanager
    def calls(self, model: torch.nn.Module) -> Iterator[None]:
        """Count calls of functions by name and of ops below autograd.

        All ops are seen in the first WATCHED_PASSES forward passes, which is prefill and the first steps
        of decoding; after them only those inside `scaled_dot_product_attention`, because to look at every
        op costs as much as to run it.
        """
        functional = torch.nn.functional
        attention, forward = functional.scaled_dot_product_attention, model.forward
        ops = _Ops(self)
        passes = 0

        def counted_attention(*args: Any, **kwargs: Any) -> torch.Tensor:
            self.sdpa_calls += 1
            with ops.once():
                return attention(*args, **kwargs)

        @functools.wraps(forward)
        def watched_forward(*args: Any, **kwargs: Any) -> Any:
            nonlocal passes
            passes += 1
            with ops.once() if passes <= WATCHED_PASSES else contextlib.nullcontext():
                return forward(*args, **kwargs)

        def count_flex() -> None:
            self.flex_calls += 1

        def count_unfused() -> None:
            self.unfused_flex_calls += 1

        functional.scaled_dot_product_attention = counted_attention  # type: ignore[assignment]
        model.forward = watched_forward  # type: ignore[method-assign]
        try:
            with spellings.counting_flex_calls(count_flex, count_unfused):
                yield
        finally:
            functional.scaled_dot_product_attention = attention
            model.forward = forward  # type: ignore[method-assign]

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Keep Python warnings and the libraries' log warnings instead of printing them."""
        handler = _Keep(self.warnings)
        loggers = [logging.getLogger(name) for name in ("transformers", "bitsandbytes", "accelerate")]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            self.warnings |= dict.fromkeys(str(warning.message) for warning in caught)

    @staticmethod
    def structure(model: torch.nn.Module, dtype: torch.dtype) -> Evidence:
        """What a model loaded in `dtype` is made of.

        Taken before it runs: bitsandbytes repacks weights in the first pass.
        """
        linear = Counter(type(module).__name__ for module in model.modules() if _is_linear(module))
        placement: Counter[str] = Counter()
        dtypes: Counter[str] = Counter()
        foreign: dict[str, list[str]] = {}
        for name, parameter in model.named_parameters():
            placement[parameter.device.type] += 1
            spelled = str(parameter.dtype).removeprefix("torch.")
            dtypes[spelled] += 1
            if parameter.is_floating_point() and parameter.dtype != dtype:
                foreign.setdefault(spelled, []).append(name)
        formats = sorted({form for module in model.modules() if (form := _format(module))})
        device_map = getattr(model, "hf_device_map", None)
        return Evidence(
            attn_implementations=_implementations(model),
            attention_classes=tuple(
                sorted({type(module).__name__ for module in model.modules() if "Attention" in type(module).__name__})
            ),
            linear_classes=dict(linear),
            unquantised_linear=_plain_linear(model) if hasattr(model, "hf_quantizer") else (),
            quantised_formats=tuple(formats),
            parameter_dtypes=dict(dtypes),
            foreign_parameters={spelled: tuple(names) for spelled, names in foreign.items()},
            placement=dict(placement),
            hf_device_map={key: str(value) for key, value in device_map.items()} if device_map else None,
            weight_bytes=sum(parameter.nbytes for parameter in model.parameters()),
        )

    def add_to(self, structure: Evidence, places: Mapping[str, str]) -> Evidence:
        """The evidence of a whole run: what the model is made of, what was called, what was said."""
        return dataclasses.replace(
            structure,
            attention_ops=dict(self.attention_ops),
            sdpa_calls=self.sdpa_calls,
            flex_calls=self.flex_calls,
            unfused_flex_calls=self.unfused_flex_calls,
            quantised_ops=dict(self.quantised_ops),
            warnings=tuple(printable(said, places)[:_WARNING_LENGTH] for said in list(self.warnings)[:_WARNINGS_KEPT]),
        )


class _Ops(TorchDispatchMode):
    """Sees every op by name."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._counters: dict[Any, tuple[Counter[str], str] | None] = {}
        self._watch = watch
        self._entered = False

    @contextlib.contextmanager
    def once(self) -> Iterator[None]:
        """Enter the mode, unless it is entered already: ops would be counted twice."""
        if self._entered:
            yield
            return
        self._entered = True
        try:
            with self:
                yield
        finally:
            self._entered = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self._counters:
            name = func._schema.name
            counter = None
            if name.startswith("bitsandbytes::"):
                counter = self._watch.quantised_ops
            elif "attention" in name or name.startswith("flash_attn") or name == _ENCODER_LAYER:
                counter = self._watch.attention_ops
            self._counters[func] = None if counter is None else (counter, name)
        seen = self._counters[func]
        if seen is not None:
            seen[0][seen[1]] += 1
        return func(*args, **(kwargs or {}))


class _Keep(logging.Handler):
    def __init__(self, kept: dict[str, None]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept[record.getMessage()] = None


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def _plain_linear(model: torch.nn.Module) -> tuple[str, ...]:
    return tuple(
        name
        for name, module in model.named_modules()
        if _is_linear(module) and not type(module).__module__.startswith("bitsandbytes")
    )


def _implementations(model: torch.nn.Module) -> dict[str, str]:
    """The attn_implementation of every submodule that has a config of its own or a share in one."""
    found: dict[str, str] = {}
    for module in model.modules():
        implementation = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if implementation is not None:
            found[type(module).__name__] = implementation
    return found


def _format(module: torch.nn.Module) -> str:
    weight = getattr(module, "weight", None)
    state = getattr(weight, "quant_state", None)
    if state is not None:
        return f"{state.quant_type} nested" if state.nested else str(state.quant_type)
    if type(module).__name__ == "Linear8bitLt" and weight is not None and weight.dtype == torch.int8:
        return "int8"
    return ""
