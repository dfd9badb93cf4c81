"""Dequantise, save, load = the dequantised weights: what is lost on the way is seen, in numbers or in the files."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from conformance.faults import Fault
from matrix.cell import parse_cell
from matrix.constraints import why_impossible
from matrix.evidence import substitutions
from matrix.expectation import Outcome, expect, load_rules
from matrix.observation import Phase
from matrix.stack import Device
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES, honest_evidence, make_stack
from tests.rooms import must_break, must_hold, observed

CELL = "llama-bfloat16-sdpa-nf4-left-dequantised_saved"


@pytest.mark.parametrize("cell", [CELL, "opt-float32-sdpa-int8-left-dequantised_saved"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    observation = must_hold(cell, cache)
    assert observation.evidence.quantised_formats == ()


@contextlib.contextmanager
def _another_result(model: Any, change: Any) -> Iterator[None]:
    usual = model.dequantize

    def dequantize() -> Any:
        plain = usual()
        change(plain)
        return plain

    with mock.patch.object(model, "dequantize", dequantize):
        yield


def one_weight_is_another(model: Any) -> None:
    """One weight comes back with its rows in another order."""
    weight = model.model.layers[0].self_attn.v_proj.weight
    weight.data = weight.data.roll(1, 0)


def the_method_is_named_still(model: Any) -> None:
    """config.json names the method, though every tensor is plain."""
    usual = model.save_pretrained

    def save(folder: str, **more: Any) -> None:
        usual(folder, **more)
        path = Path(folder) / "config.json"
        said = {**json.loads(path.read_text()), "quantization_config": {"quant_method": "bitsandbytes"}}
        path.write_text(json.dumps(said))

    model.save_pretrained = save


def fault(change: Any) -> Fault:
    return Fault(change.__name__, change.__doc__, bool, running=lambda model: _another_result(model, change))


def test_a_weight_that_is_dequantised_wrongly_is_seen(cache: Path) -> None:
    must_break(CELL, fault(one_weight_is_another), cache)


def test_files_that_say_something_else_are_seen(cache: Path) -> None:
    reason = must_break(CELL, fault(the_method_is_named_still), cache, Verdict.ERROR)
    assert "SavedWrongly in save: config.json names bitsandbytes, and every tensor is plain" in reason


def test_what_is_still_quantised_is_substituted() -> None:
    cell, llama = parse_cell(CELL), ARCHITECTURES["llama"]
    plain = honest_evidence(parse_cell("llama-bfloat16-sdpa-left-prefill"), Device.CPU)
    assert substitutions(cell, llama, plain, Device.CPU) == ()
    kept = honest_evidence(parse_cell("llama-bfloat16-sdpa-nf4-left-prefill"), Device.CPU)
    assert any("it has quantised modules" in words for words in substitutions(cell, llama, kept, Device.CPU))


@pytest.mark.parametrize(
    ("cell", "type_", "more"),
    [
        ("llama-bfloat16-sdpa-fp8_dequantised-left-dequantised_saved", "ValueError", {}),
        ("llama-bfloat16-sdpa-ct_int4-left-dequantised_saved", "NotImplementedError", {"compressed-tensors": "0.20.0"}),
    ],
)
def test_others_refuse_in_words(cache: Path, cell: str, type_: str, more: dict[str, str]) -> None:
    if more:
        pytest.importorskip("compressed_tensors")
    failure = observed(cell, cache)[0].failure
    wanted = expect(parse_cell(cell), make_stack({"accelerate": "1.15.0", **more}), load_rules(ARCHITECTURES))
    assert (wanted.outcome, wanted.phase, wanted.type) == (Outcome.REFUSED, Phase.TRANSFORM, type_)
    assert failure is not None
    assert (failure.phase, failure.type) == (Phase.TRANSFORM, type_)


def test_of_a_plain_model_there_is_none() -> None:
    cell = parse_cell("llama-bfloat16-sdpa-left-dequantised_saved")
    assert why_impossible(cell, ARCHITECTURES["llama"]) == "there is nothing to dequantise"
