"""Several documents in one row, and nothing said of a cache."""

from pathlib import Path

import pytest

from conformance.bench import Bench
from matrix.cell import parse_cell
from matrix.dials import cause
from matrix.stack import Device
from tests.builders import ARCHITECTURES
from tests.rooms import must_hold_apart


@pytest.mark.parametrize("cell", ["llama-bfloat16-sdpa-packed_by_default", "gpt2-float32-eager-packed_by_default"])
def test_it_sees_documents_that_see_one_another_and_no_others(cache: Path, cell: str) -> None:
    must_hold_apart(cell, cache)


@pytest.mark.parametrize("architecture", ["mistral", "gpt_neox"])
def test_that_documents_see_one_another_is_what_explains_it(architecture: str, cache: Path) -> None:
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache)
    (comparison,) = bench.run(parse_cell(f"{architecture}-float32-sdpa-packed_by_default")).comparisons
    found = cause(comparison.readings)
    assert found is not None
    assert (found.dial, round(found.value, 3)) == ("documents", 100)
