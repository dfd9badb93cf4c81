"""What a dial is, and the list of all of them."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch

from conformance.faults.catalogue import Attend, Model, sdpa_answered_by
from conformance.spellings import text_config
from matrix.dials import KNOBS, Knob

Turned = Callable[[Attend, float], torch.Tensor]


@dataclass(frozen=True)
class Dial:
    """One number that attention is made of. Its words, unit and material size are in `matrix/dials.py`."""

    name: str
    step: float  # by which golden is turned for its direction, in the dial's unit
    marks: tuple[float, ...]  # sizes that a large error is tried at first, in that unit
    suits: Callable[[Model], bool]  # the models that have it
    turning: Callable[[Model, float], AbstractContextManager[None]]  # while entered, it is off by so much
    explains_only: bool = False  # whether it is looked for only in what is far off: near others, it would blur them
    in_calls: bool = True  # whether it is turned in each call of attention, so that it can be in one of them alone

    @property
    def knob(self) -> Knob:
        """What it is called, and read in."""
        return KNOBS[self.name]

    def held(self, by: float) -> float:
        """The nearest size that can be: what is shared has 0 to 100 % of its weight."""
        knob = self.knob
        return min(knob.most, max(knob.least, by))


DIALS: dict[str, Dial] = {}


def add(dial: Dial) -> None:
    """Put a dial on the list."""
    assert dial.name not in DIALS, dial.name
    DIALS[dial.name] = dial


def attention_dial(
    name: str,
    step: float,
    suits: Callable[[Model], bool] = lambda model: True,
    marks: tuple[float, ...] = (10.0, 100.0),
    explains_only: bool = False,
) -> Callable[[Turned], Turned]:
    """Make a dial of a function that answers one call of attention with a number turned by so much."""

    def register(turned: Turned) -> Turned:
        def turning(model: Model, by: float) -> AbstractContextManager[None]:
            return answered(model, lambda call: turned(call, by))

        add(Dial(name, step, marks, suits, turning, explains_only))
        return turned

    return register


_ONLY: ContextVar[int | None] = ContextVar("the one call of attention that is turned", default=None)


@contextlib.contextmanager
def in_call(number: int | None) -> Iterator[None]:
    """While entered, what a dial does to calls of attention it does to this one alone, counted from 0; None for all."""
    before = _ONLY.set(number)
    try:
        yield
    finally:
        _ONLY.reset(before)


@contextlib.contextmanager
def answered(model: Model, answer: Callable[[Attend], torch.Tensor] = lambda call: call()) -> Iterator[None]:
    """While entered, attention is explicit: what differs between two answers is the dial, and no kernel."""
    only = _ONLY.get()

    def where_asked(call: Attend) -> torch.Tensor:
        return answer(call) if only in (None, call.number) else call()

    with sdpa_answered_by(where_asked, model, softcap_of(model)):
        yield


def counted(model: Model, run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """What a run answers through explicit attention, and how often that is called."""
    numbers: list[int] = []

    def answer(call: Attend) -> torch.Tensor:
        numbers.append(call.number)
        return call()

    with answered(model, answer):
        return run(), len(numbers)


def softcap_of(model: Model) -> float | None:
    """At what its scores are capped, or None."""
    cap: float | None = getattr(text_config(model.config), "attn_logit_softcapping", None)
    return cap


def precise(call: Attend) -> Attend:
    """The call in float32 at least: turned by less than a rounding of bfloat16, a key or a bias would not move."""
    wide = torch.promote_types(call.query.dtype, torch.float32)
    bias = call.bias.to(wide).masked_fill(call.masked, torch.finfo(wide).min)
    query, key, value = (one.to(wide) for one in (call.query, call.key, call.value))
    return replace(call, query=query, key=key, value=value, bias=bias)


def precisely(turned: Turned) -> Turned:
    """The same answer, computed in float32 at least and handed out in the dtype of the call."""
    return lambda call, by: turned(precise(call), by).to(call.query.dtype)


def parts(model: Model, *names: str) -> list[Any]:
    """The modules of the model that have one of those names."""
    return [module for name, module in model.named_modules() if name.rpartition(".")[2] in names]
