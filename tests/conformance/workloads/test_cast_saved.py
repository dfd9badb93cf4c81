"""Cast, save, load = as it was cast."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from conformance.faults import Fault
from matrix.cell import parse_cell
from matrix.expectation import Outcome, expect, load_rules
from matrix.observation import Phase
from tests.builders import ARCHITECTURES, make_stack
from tests.rooms import must_break, must_hold, observed

CELL = "llama-bfloat16-sdpa-left-cast_saved"


@pytest.mark.parametrize("cell", [CELL, "t5-float32-sdpa-fp8_dequantised-left-cast_saved"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    must_hold(cell, cache)


@contextlib.contextmanager
def _lost_in_a_cast(model: Any) -> Iterator[None]:
    usual = type(model).to

    def to(self: Any, *args: Any, **known: Any) -> Any:
        cast = usual(self, *args, **known)
        cast.model.norm.weight.data /= 2
        return cast

    with mock.patch.object(type(model), "to", to):
        yield


def test_what_each_cast_changes_is_seen(cache: Path) -> None:
    """What is loaded is cast as well: a norm that each cast halves is halved twice there."""
    must_break(CELL, Fault("lost", "a cast that loses something", bool, running=_lost_in_a_cast), cache)


def test_bitsandbytes_refuses_in_words(cache: Path) -> None:
    cell = "llama-bfloat16-sdpa-int8-left-cast_saved"
    wanted = expect(
        parse_cell(cell), make_stack({"accelerate": "1.15.0", "bitsandbytes": "0.50.2"}), load_rules(ARCHITECTURES)
    )
    failure = observed(cell, cache)[0].failure
    assert (wanted.outcome, wanted.phase, wanted.type) == (Outcome.REFUSED, Phase.TRANSFORM, "ValueError")
    assert failure is not None
    assert (failure.phase, failure.type) == (Phase.TRANSFORM, "ValueError")
