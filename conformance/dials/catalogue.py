"""What a dial is, and the list of all of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
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
    # How a model answers one call of attention where it is off by so much; None where it is turned elsewhere.
    answers: Callable[[Model], Turned] | None = None

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


def call_dial(
    name: str,
    step: float,
    marks: tuple[float, ...],
    suits: Callable[[Model], bool],
    answers: Callable[[Model], Turned],
    explains_only: bool = False,
) -> None:
    """Put a dial on the list that is turned in calls of attention."""

    def turning(model: Model, by: float) -> AbstractContextManager[None]:
        turned = answers(model)
        return answered(model, lambda call: turned(call, by))

    add(Dial(name, step, marks, suits, turning, explains_only, answers))


def attention_dial(
    name: str,
    step: float,
    suits: Callable[[Model], bool] = lambda model: True,
    marks: tuple[float, ...] = (10.0, 100.0),
    explains_only: bool = False,
) -> Callable[[Turned], Turned]:
    """Make a dial of a function that answers one call of attention, whatever the model, turned by so much."""

    def register(turned: Turned) -> Turned:
        call_dial(name, step, marks, suits, lambda model: turned, explains_only)
        return turned

    return register


def answered(
    model: Model, answer: Callable[[Attend], torch.Tensor] = lambda call: call()
) -> AbstractContextManager[None]:
    """While entered, attention is explicit: what differs between two answers is the dial, and no kernel."""
    return sdpa_answered_by(answer, model, softcap_of(model))


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
