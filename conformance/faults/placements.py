"""Faults of what waits elsewhere, and of adapters."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from conformance.faults.catalogue import Fault, Model, add, named

_TRIED = named("gpt2", "llama", "mixtral")


class _Changed(Mapping[str, torch.Tensor]):
    """Weights that wait elsewhere, and that come back changed."""

    def __init__(self, waiting: Mapping[str, torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._waiting, self._change = waiting, change

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._change(self._waiting[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)


def _waiting(model: Model) -> list[Any]:
    """The hooks of accelerate that bring back a matrix."""
    hooks = [(module, getattr(module, "_hf_hook", None)) for module in model.modules()]
    matrix = [hook for module, hook in hooks if getattr(getattr(module, "weight", None), "ndim", 0) == 2]
    return [hook for hook in matrix if getattr(hook, "weights_map", None) is not None]


def _brought_back(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[Model], contextlib.AbstractContextManager[None]]:
    """While entered, the first matrix that waits elsewhere comes back changed."""

    @contextlib.contextmanager
    def running(model: Model) -> Iterator[None]:
        hook = _waiting(model)[0]
        usual = hook.weights_map
        hook.weights_map = _Changed(usual, change)
        try:
            yield
        finally:
            hook.weights_map = usual

    return running


def _never_sent_away(model: Model, cell: object) -> None:
    """Everything is where it computes, whatever the map says: the numbers are right."""
    from accelerate.hooks import remove_hook_from_module

    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        if getattr(hook, "weights_map", None) is not None:
            hook.pre_forward(module)
            hook.offload = False
            remove_hook_from_module(module)


@contextlib.contextmanager
def _patched(owner: Any, name: str, wrong: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """While entered, a method is what `wrong` makes of it."""
    usual = getattr(owner, name)
    setattr(owner, name, wrong(usual))
    try:
        yield
    finally:
        setattr(owner, name, usual)


def _of_lora(
    name: str, wrong: Callable[[Callable[..., Any]], Callable[..., Any]], *, linear: bool = False
) -> Callable[[Model], contextlib.AbstractContextManager[None]]:
    """While entered, a method of peft's LoRA layers is another: of all, or of those of linear modules."""

    def running(model: Model) -> contextlib.AbstractContextManager[None]:
        from peft.tuners.lora import layer

        return _patched(layer.Linear if linear else layer.LoraLayer, name, wrong)

    return running


def _scaled_twice(usual: Callable[..., Any]) -> Callable[..., Any]:
    def update_layer(self: Any, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        usual(self, adapter_name, *args, **kwargs)
        self.scaling[adapter_name] *= 2

    return update_layer


def _ignored(usual: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: None


def _first_left_out(usual: Callable[..., Any]) -> Callable[..., Any]:
    seen: list[Any] = []

    def merge(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(self)
        if len(seen) > 1:
            usual(self, *args, **kwargs)

    return merge


def _another_layers(usual: Callable[..., Any]) -> Callable[..., Any]:
    """The second LoRA of each shape is read as the first of that shape."""
    first: dict[tuple[int, int], Any] = {}

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        owner = first.setdefault((self.in_features, self.out_features), self)
        own = self._modules["lora_A"], self._modules["lora_B"]
        self._modules["lora_A"], self._modules["lora_B"] = owner._modules["lora_A"], owner._modules["lora_B"]
        try:
            return usual(self, *args, **kwargs)
        finally:
            self._modules["lora_A"], self._modules["lora_B"] = own

    return forward


def _switched_on_in_vain(model: Model) -> contextlib.AbstractContextManager[None]:
    from peft import PeftModel

    return _patched(PeftModel, "set_adapter", _ignored)


def _never_off(model: Model) -> contextlib.AbstractContextManager[None]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return _patched(BaseTunerLayer, "enable_adapters", _ignored)


def _weights_lost(model: Model) -> contextlib.AbstractContextManager[None]:
    from peft.tuners.lora.model import LoraModel

    def evenly(usual: Callable[..., Any]) -> Callable[..., Any]:
        def add_weighted_adapter(
            self: Any, adapters: list[str], weights: list[float], *more: Any, **known: Any
        ) -> None:
            usual(self, adapters, [1.0] * len(weights), *more, **known)

        return add_weighted_adapter

    return _patched(LoraModel, "add_weighted_adapter", evenly)


for _name, _stands_for, _change in (
    ("waiting_lost", "weights that wait on the disk and come back as zeros", torch.zeros_like),
    ("waiting_stale", "weights that come back from another place of the file", lambda weight: weight.roll(1, 0)),
):
    add(Fault(_name, _stands_for, _TRIED, device_map="cpu_disk", running=_brought_back(_change)))
add(
    Fault(
        "never_sent_away",
        "a device_map that is taken and does nothing: right numbers, all of the memory",
        _TRIED,
        device_map="cpu_disk",
        loaded=_never_sent_away,
    )
)
for _name, _stands_for, _workload, _running in (
    (
        "adapter_scaled_twice",
        "alpha / rank applied by the loader and by the layer",
        "adapter_added",
        _of_lora("update_layer", _scaled_twice, linear=True),
    ),
    (
        "adapter_of_another_layer",
        "adapters told apart by shape",
        "adapter_by_peft",
        _of_lora("forward", _another_layers, linear=True),
    ),
    ("adapter_not_switched", "set_adapter that leaves the first one active", "adapter_switched", _switched_on_in_vain),
    ("adapter_not_off", "disable_adapter that leaves it active", "adapter_disabled", _never_off),
    ("adapter_weights_lost", "weighted adapters added up as they are", "adapter_weighted", _weights_lost),
    (
        "merge_forgets_one",
        "one module that is not merged",
        "adapter_merged",
        _of_lora("merge", _first_left_out, linear=True),
    ),
):
    add(Fault(_name, _stands_for, _TRIED, _workload, running=_running))
