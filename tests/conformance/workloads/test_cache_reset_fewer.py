"""A static cache that is reset and used for fewer rows: transformers#42454, in every architecture."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers

from conformance.faults import Fault
from matrix.verdict import Verdict
from tests.rooms import must_break, observed


@contextlib.contextmanager
def _made_anew(model: Any) -> Iterator[None]:
    """No fault but a repair: a layer that is reset takes the number of rows that come next."""
    usual = transformers.Cache.reset

    def reset(cache: Any) -> None:
        usual(cache)
        for layer in cache.layers:
            layer.is_initialized = False

    transformers.Cache.reset = reset  # type: ignore[method-assign]
    yield
    transformers.Cache.reset = usual  # type: ignore[method-assign]


REPAIR = Fault("rows_taken_anew", "a library that makes a layer anew", bool, running=_made_anew)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("llama-float32-sdpa-cache_reset_fewer", "index_copy_"),
        ("mamba-float32-eager-cache_reset_fewer", "must match the size of tensor b (2)"),
    ],
)
def test_a_cache_that_keeps_its_rows_is_seen(cache: Path, cell: str, said: str) -> None:
    judgement = observed(cell, cache)[1]
    assert judgement.verdict is Verdict.ERROR
    assert said in judgement.reason


@pytest.mark.parametrize("cell", ["llama-float32-sdpa-cache_reset_fewer", "gpt2-bfloat16-sdpa-left-cache_reset_fewer"])
def test_it_would_hold_for_a_cache_that_takes_fewer(cache: Path, cell: str) -> None:
    observation, judgement = observed(cell, cache, REPAIR)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert observation.comparisons[0].positions == 2 * 6 + (13 + 11 if "left" in cell else 2 * 13)


def test_rows_that_are_mixed_up_would_be_seen(cache: Path) -> None:
    @contextlib.contextmanager
    def mixed(model: Any) -> Iterator[None]:
        usual = transformers.cache_utils.StaticLayer.update

        def update(layer: Any, keys: Any, values: Any, *args: Any, **named: Any) -> Any:
            return usual(layer, keys.roll(1, 0) if len(keys) == 2 else keys, values, *args, **named)

        transformers.cache_utils.StaticLayer.update = update  # type: ignore[method-assign]
        with _made_anew(model):
            yield
        transformers.cache_utils.StaticLayer.update = usual  # type: ignore[method-assign]

    must_break("llama-float32-sdpa-cache_reset_fewer", Fault("mixed", "", bool, running=mixed), cache)
