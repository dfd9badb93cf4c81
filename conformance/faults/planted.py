"""Faults that sit in one module alone, so that it is known where wrong numbers begin."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from conformance.faults.catalogue import Attend, Fault, Model, sdpa_answered_by
from conformance.models.batches import LENGTHS
from matrix.architectures import Architecture, Kind

DEAD_ROW = 1
_MLP = ("mlp", "block_sparse_moe", "output", "ffn", "DenseReluDense", "fc2")


@dataclass(frozen=True)
class Planted:
    """One fault, and in which module of a layer it is."""

    name: str
    where: Callable[[Model], torch.nn.Module]
    at_work: Callable[[Model, torch.nn.Module], contextlib.AbstractContextManager[None]]
    workload: str = "prefill"
    reach: Callable[[int, int, int], bool] | None = None  # (row, column, columns) -> whether its output is wrong there

    def suits(self, architecture: Architecture) -> bool:
        """Whether it can be planted there: an encoder has no cache to be stale."""
        return self.workload == "prefill" or architecture.kind is not Kind.ENCODER

    def fault(self) -> Fault:
        """As what a bench takes."""
        return Fault(
            self.name, "", lambda architecture: True, running=lambda model: self.at_work(model, self.where(model))
        )


def layer(model: Model) -> torch.nn.Module:
    """The second layer, of a decoder where there is one."""
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) > 1]
    whole = [stack for stack in stacks if not any(stack is not other and _inside(stack, other) for other in stacks)]
    return whole[-1][1]


def _inside(module: torch.nn.Module, other: torch.nn.Module) -> bool:
    return any(module is part for part in other.modules())


def attention(model: Model) -> torch.nn.Module:
    """The innermost module that is attention."""
    found = [module for module in layer(model).modules() if "attention" in type(module).__name__.lower()]
    inner = [module for module in found if not any(module is not other and _inside(other, module) for other in found)]
    return inner[0]


def norm(model: Model) -> torch.nn.Module:
    """The first norm."""
    return next(module for module in layer(model).modules() if "norm" in type(module).__name__.lower())


def linear(model: Model) -> torch.nn.Module:
    """The first projection."""
    return next(
        module for module in layer(model).modules() if type(module).__name__ in ("Linear", "Conv1D", "FalconLinear")
    )


def mlp(model: Model) -> torch.nn.Module:
    """What follows attention."""
    named = dict(layer(model).named_modules())
    found = (module for name, module in named.items() if name.rpartition(".")[2] in _MLP and "ttention" not in name)
    return next(found)


@contextlib.contextmanager
def _answering(model: Model, module: torch.nn.Module, wrong: Callable[[Attend], torch.Tensor]) -> Iterator[None]:
    """While entered this module alone is answered wrongly by SDPA."""
    usual = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with sdpa_answered_by(wrong, model):
            return usual(*args, **kwargs)

    with _patched(module, forward):
        yield


@contextlib.contextmanager
def _giving(
    model: Model, module: torch.nn.Module, wrong: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """While entered what this module gives is changed by a function of that and of what it was given."""
    usual = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = next(
            one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor) and one.is_floating_point()
        )
        given = given.clone()
        found = usual(*args, **kwargs)
        if isinstance(found, tuple):
            return (wrong(found[0], given), *found[1:])
        return wrong(found, given)

    with _patched(module, forward):
        yield


@contextlib.contextmanager
def _patched(module: torch.nn.Module, forward: Any) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _in_attention(name: str, wrong: Callable[[Attend], torch.Tensor], **more: Any) -> Planted:
    return Planted(name, attention, lambda model, module: _answering(model, module, wrong), **more)


def _in_output(
    name: str, where: Any, wrong: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], **more: Any
) -> Planted:
    return Planted(name, where, lambda model, module: _giving(model, module, wrong), **more)


def _one_key_unseen(call: Attend) -> torch.Tensor:
    masked = call.masked.clone()
    masked[..., call.key.shape[-2] // 2] = True
    return call(bias=call.with_mask(masked))


def _stale_slot(call: Attend) -> torch.Tensor:
    if not call.decodes:
        return call()
    key, value = call.key.clone(), call.value.clone()
    key[..., -2, :], value[..., -2, :] = 0, 0
    return call(key=key, value=value)


def _shaped(tensor: torch.Tensor) -> torch.Tensor:
    """Of shape (rows, tokens, features), also where a layer sees the tokens of all rows alike."""
    return tensor.unflatten(0, (len(LENGTHS["prefill"]), -1)) if tensor.ndim == 2 else tensor


def _set(tensor: torch.Tensor, place: Any, value: Any) -> torch.Tensor:
    changed = _shaped(tensor).clone()
    changed[place] = value(changed[place]) if callable(value) else value
    return changed.view_as(tensor)


def _louder(tensor: torch.Tensor) -> torch.Tensor:
    return 1.5 * tensor


PLANTED = {
    planted.name: planted
    for planted in (
        _in_attention("scale", lambda call: call(scale=1.25 * call.scale)),
        _in_attention("mask", _one_key_unseen),
        _in_attention("position", lambda call: call(key=call.key.roll(1, -2))),
        _in_attention("head", lambda call: call()[:, [1, 0, *range(2, call.query.shape[1])]]),
        _in_attention("value", lambda call: call(value=1.1 * call.value)),
        _in_attention("stale_cache_slot", _stale_slot, workload="generate"),
        _in_output("norm", norm, lambda found, given: 1.1 * found),
        _in_output("residual", layer, lambda found, given: found - given),
        _in_output(
            "mlp",
            mlp,
            lambda found, given: _set(found, (slice(None), slice(_shaped(found).shape[1] // 2, None)), _louder),
            reach=lambda row, column, length: column >= length // 2,
        ),
        _in_output("cast", linear, lambda found, given: found.to(torch.float8_e4m3fn).to(found.dtype)),
        _in_output("overflow", mlp, lambda found, given: _set(found, (..., 3), float("inf"))),
        _in_output(
            "dead_row",
            mlp,
            lambda found, given: _set(found, DEAD_ROW, 0.0),
            reach=lambda row, column, length: row == DEAD_ROW,
        ),
    )
}
