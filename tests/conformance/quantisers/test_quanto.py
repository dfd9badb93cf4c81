"""quanto's weights, and what they mean."""

from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.faults import FAULTS
from conformance.quantisers.quanto import dequantised, stored_as
from matrix.cell import parse_cell
from matrix.expectation import Outcome, expect, load_rules
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES, make_stack
from tests.rooms import must_break, must_hold, observed

pytestmark = pytest.mark.usefixtures("quanto_unpacks_in_torch")

LIBRARIES = {"optimum-quanto": "0.2.7", "accelerate": "1.15.0"}


def quantised(kind: str, columns: int, dtype: torch.dtype) -> tuple[torch.Tensor, Any]:
    quanto = pytest.importorskip("optimum.quanto")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(columns, 64, bias=False, dtype=dtype))
    before = model[0].weight.detach().clone()
    quanto.quantize(model, weights=getattr(quanto, kind))
    quanto.freeze(model)
    return before, model[0]


# In bfloat16 with groups of 128 weights stand packed for tinygemm.
@pytest.mark.parametrize("columns", [80, 64, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "name"), [("qint8", "qint8"), ("qfloat8", "qfloat8_e4m3fn"), ("qint4", "qint4")])
def test_a_weight_is_what_quanto_means(kind: str, name: str, dtype: torch.dtype, columns: int) -> None:
    before, module = quantised(kind, columns, dtype)
    assert stored_as(module) == name
    assert torch.equal(dequantised(module.weight, dtype), module.weight.dequantize())
    furthest = 0.1 if kind == "qint4" else 0.04
    assert float((dequantised(module.weight) - before.float()).abs().max()) < furthest * float(before.abs().max())


def test_its_format_is_told_from_others() -> None:
    assert stored_as(torch.nn.Linear(2, 2)) is None


@pytest.mark.parametrize(
    "cell",
    [
        "llama-float32-sdpa-quanto_int8-left-prefill",
        "t5-bfloat16-sdpa-quanto_float8-left-prefill",
        "opt-float16-eager-quanto_int4-left-generate",
        "llama_odd-bfloat16-sdpa-quanto_int4-left-prefill",
    ],
)
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    pytest.importorskip("optimum.quanto")
    observation = must_hold(cell, cache)
    assert observation.evidence.linear_classes["QLinear"] > 10
    assert bool(observation.evidence.quantised_ops) == ("int4" not in cell)


def test_a_save_is_refused_in_words(cache: Path) -> None:
    pytest.importorskip("optimum.quanto")
    cell = "llama-bfloat16-sdpa-quanto_int8-reload"
    failure = observed(cell, cache)[0].failure
    expectation = expect(parse_cell(cell), make_stack(LIBRARIES), load_rules(ARCHITECTURES))
    assert expectation.outcome is Outcome.REFUSED
    assert failure is not None
    assert expectation.matches(failure)
    elsewhere = parse_cell("llama-bfloat16-sdpa-quanto_int8-batch_permutation")
    assert expect(elsewhere, make_stack(LIBRARIES), load_rules(ARCHITECTURES)).outcome is Outcome.SUPPORTED


@pytest.mark.parametrize(
    "fault", ["quanto_int4_nibbles_exchanged", "quanto_int4_shift_off", "quanto_float8_read_as_e5m2"]
)
def test_a_wrong_weight_is_seen(cache: Path, fault: str) -> None:
    pytest.importorskip("optimum.quanto")
    cell = f"llama-bfloat16-sdpa-{FAULTS[fault].quantisation}-left-prefill"
    must_break(cell, FAULTS[fault], cache, Verdict.INACCURATE)
