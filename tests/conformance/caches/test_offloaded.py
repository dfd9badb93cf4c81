"""Caches that wait in the memory of the CPU: without a GPU they are refused, if in no good words."""

from pathlib import Path

import pytest

from conformance.caches.offloaded import generation_arguments
from matrix.cell import parse_cell
from matrix.expectation import Outcome, expect, load_rules
from matrix.observation import Evidence
from matrix.stack import Device, Stack
from tests.builders import ARCHITECTURES
from tests.rooms import observed

GROWING, STATIC = (f"llama-float32-sdpa-left-{cache}-generate" for cache in ("offloaded", "offloaded_static"))


def test_it_is_asked_for_in_the_words_of_the_library() -> None:
    assert generation_arguments("offloaded")["cache_implementation"] == "offloaded"


@pytest.mark.parametrize("cell", [GROWING, STATIC])
def test_without_a_gpu_it_fails_as_documented(cache: Path, cell: str) -> None:
    stack = Stack(versions={"torch": "2.13.0", "transformers": "5.24.0"}, device=Device.CPU)
    expectation = expect(parse_cell(cell), stack, load_rules(ARCHITECTURES))
    failure = observed(cell, cache)[0].failure
    assert (expectation.outcome, expectation.missing) == (Outcome.UNAVAILABLE, ("cuda",))
    assert failure is not None
    assert expectation.matches(failure)


@pytest.mark.parametrize(("cell_id", "kind"), [(GROWING, "DynamicCache"), (STATIC, "StaticCache")])
@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ({"Layer: bfloat16 on cpu, 79 tokens, 79 slots": 1, "Layer: bfloat16 on cuda, 79 tokens, 79 slots": 1}, []),
        ({"Layer: bfloat16 on cuda, 79 tokens, 79 slots": 2}, ["none of its layers waited in the memory of the CPU"]),
    ],
)
def test_a_cache_that_never_leaves_the_gpu_is_substituted(
    cell_id: str, kind: str, layers: dict[str, int], found: list[str]
) -> None:
    cell, evidence = parse_cell(cell_id), Evidence(caches=(kind,), cache_layers=layers)
    assert cell.cache.substituted is not None
    assert list(cell.cache.substituted(cell, ARCHITECTURES["llama"], evidence, "cuda")) == found
