"""A LoRA merged into the weights, which are saved and loaded."""

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.faults import FAULTS
from matrix.cell import parse_cell
from matrix.constraints import why_impossible
from tests.builders import ARCHITECTURES
from tests.rooms import must_break, must_hold

pytest.importorskip("peft")
CELL = "llama-bfloat16-sdpa-left-adapter_merged_saved"


@pytest.mark.parametrize("cell", [CELL, "llama-float32-sdpa-fp8_dequantised-left-adapter_merged_saved"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    must_hold(cell, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    fault = replace(FAULTS["merge_forgets_one"], workload="adapter_merged_saved")
    assert "logits" in must_break(CELL, fault, cache)


@pytest.mark.parametrize("quantisation", ["nf4", "ct_int4"])
def test_nothing_is_merged_into_packed_weights(quantisation: str) -> None:
    cell = parse_cell(f"llama-bfloat16-sdpa-{quantisation}-left-adapter_merged_saved")
    assert "rounded anew" in (why_impossible(cell, ARCHITECTURES["llama"]) or "")
