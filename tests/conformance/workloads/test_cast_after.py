"""Cast after it was dispatched."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.faults import Fault
from tests.rooms import must_break, must_hold

CELL = "llama-bfloat16-sdpa-cpu_disk-left-cast_after"


@contextlib.contextmanager
def _cast_through_float8(model: Any) -> Iterator[None]:
    """A model with a map is rounded to another dtype on its way."""
    usual = type(model).bfloat16

    def bfloat16(self: Any) -> Any:
        return usual(_through_float8(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "bfloat16", bfloat16)
        yield


def _through_float8(model: Any) -> Any:
    for parameter in model.parameters():
        if hasattr(model, "hf_device_map") and parameter.device.type != "meta":
            parameter.data = parameter.data.to(torch.float8_e4m3fn).to(parameter.dtype)
    return model


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    fault = Fault("cast_through_float8", "a cast that rounds twice", bool, running=_cast_through_float8)
    assert "cast_after" in must_break(CELL, fault, cache)
