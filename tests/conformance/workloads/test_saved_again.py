"""Saved, loaded, saved and loaded again: what is lost on the way is seen, in numbers or in the files."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from conformance.faults import Fault
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-bfloat16-sdpa-left-saved_again"


@pytest.mark.parametrize("cell", [CELL, "t5-float32-eager-saved_again", "qwen3_moe-bfloat16-sdpa-saved_again"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    must_hold(cell, cache)


@contextlib.contextmanager
def _after_saving(model: Any, change: Any) -> Iterator[None]:
    usual = type(model).save_pretrained

    def save(self: Any, folder: str, **more: Any) -> None:
        usual(self, folder, **more)
        change(self, Path(folder))

    # Taken away again, not put back: the class has none of its own, and one left on it would hide the library's.
    with mock.patch.object(type(model), "save_pretrained", save):
        yield


def a_norm_is_reset(model: Any, folder: Path) -> None:
    """Each save finds the last norm at half of what it was, in the model that it is called on."""
    model.model.norm.weight.data /= 2


def the_method_is_named_for_nothing(model: Any, folder: Path) -> None:
    """config.json names a method of which there is no tensor."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": {"quant_method": "fp8"}}))


def fault(change: Any) -> Fault:
    return Fault(change.__name__, change.__doc__, bool, running=lambda model: _after_saving(model, change))


def test_numbers_that_change_on_the_way_are_seen(cache: Path) -> None:
    must_break(CELL, fault(a_norm_is_reset), cache)


def test_files_that_say_something_else_are_seen(cache: Path) -> None:
    reason = must_break(CELL, fault(the_method_is_named_for_nothing), cache, Verdict.ERROR)
    assert "SavedWrongly in save: config.json names fp8, and every tensor is plain" in reason


def test_a_loaded_fp8_checkpoint_is_saved_plain(cache: Path) -> None:
    observation, judgement = observed("llama_blocks-float32-sdpa-fp8_dequantised-left-saved_again", cache)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert observation.evidence.quantised_formats == ()
