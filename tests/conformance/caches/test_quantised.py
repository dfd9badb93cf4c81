"""Quantised caches through `generate`. Those of optional packages are tried where the packages are."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.caches import quantised
from conformance.faults import FAULTS
from conformance.judging.found import OneRun
from matrix.caches import CACHES
from matrix.cell import parse_cell
from matrix.constraints import why_impossible
from matrix.expectation import Outcome, expect, load_rules
from matrix.stack import Device, Stack
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES
from tests.rooms import must_break, must_hold, observed

pytestmark = pytest.mark.usefixtures("quanto_unpacks_in_torch")

CELL = "llama-{dtype}-sdpa-left-quantised_fp8-{workload}"


def backends() -> list[Any]:
    packages = {"quanto": "optimum.quanto", "hqq": "hqq", "fp8": "torch"}
    return [
        pytest.param(name, marks=pytest.mark.skipif(not _found(package), reason=f"needs {package}"))
        for name in CACHES
        for backend, package in packages.items()
        if name.startswith(f"quantised_{backend}")
    ]


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("name", backends())
@pytest.mark.parametrize("cell", ["llama-float32-sdpa-left-{}-generate", "gpt2-bfloat16-eager-left-{}-beam"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str, name: str) -> None:
    observation = must_hold(cell.format(name), cache)
    assert observation.evidence.caches == ("QuantizedCache",)
    (said,) = observation.evidence.cache_layers
    assert ("float8_e4m3fn" if "fp8" in name else "uint8") in said
    cost = observation.quantisation_cost
    assert cost is not None
    assert 0 < cost.kl_mean < 0.1
    assert cost.top1_agreement > 0.7


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["stale_cache_slot", "cache_rows_reordered", "padding_forgotten_in_decoding"])
def test_what_goes_wrong_in_decoding_is_seen(cache: Path, dtype: str, name: str) -> None:
    assert "decoded logits" in must_break(CELL.format(dtype=dtype, workload="generate"), FAULTS[name], cache)


@pytest.mark.parametrize("name", [one for one in backends() if "4" in str(one.values[0])])
def test_fewer_bits_than_were_asked_for_are_seen(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that holds 2 bits errs by far more than 4 bits explain."""
    honest = quantised.generation_arguments

    def with_two_bits(cache: str) -> dict[str, Any]:
        given: dict[str, Any] = honest(cache)
        return given | {"cache_config": given["cache_config"] | {"nbits": 2}}

    monkeypatch.setattr(quantised, "generation_arguments", with_two_bits)
    judgement = observed(f"llama-float32-sdpa-left-{name}-generate", cache)[1]
    assert judgement.verdict is Verdict.INACCURATE, judgement.reason


def test_a_cache_that_rounds_nothing_is_substituted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "generation_arguments", lambda cache: {})
    judgement = observed(CELL.format(dtype="float32", workload="generate"), cache)[1]
    assert judgement.verdict is Verdict.SUBSTITUTED, judgement.reason
    assert "the cache was DynamicCache, not a QuantizedCache" in judgement.reason


def test_the_measure_is_taken_with_no_cache_that_is_wrong_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that forgets would widen the bounds by as much as the fault that is looked for."""
    from conformance import decoding

    usual = decoding.Rounded.update

    def forgetful(self: Any, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **named: Any) -> Any:
        keys, values = usual(self, key_states, value_states, *args, **named)
        return keys, values.flip(-2) if keys.shape[-2] > key_states.shape[-2] else values

    monkeypatch.setattr(decoding.Rounded, "update", forgetful)
    observation, judgement = observed(CELL.format(dtype="float32", workload="generate"), cache)
    assert judgement.verdict is Verdict.NOT_BUILT, judgement.reason
    assert observation.failure is not None
    assert "no measure" in observation.failure.message


def test_codes_are_as_many_as_bits_say_and_reach_from_end_to_end() -> None:
    states = torch.randn(2, 2, 5, 32, generator=torch.Generator().manual_seed(0))
    for name, bits in quantised.BITS.items():
        left = quantised.kept(name, states)
        groups, before = left.reshape(-1, quantised.GROUP), states.reshape(-1, quantised.GROUP)
        assert max(len(group.unique()) for group in groups) <= 2**bits
        steps = (before.amax(1) - before.amin(1)) / (2**bits - 1)
        assert bool(((groups - before).abs().amax(1) <= 0.501 * steps).all())
    assert quantised.kept("quantised_fp8", states).unique().numel() <= 256
    assert torch.equal(quantised.kept("quantised_hqq4", torch.zeros(1, 1, 1, 16)), torch.zeros(1, 1, 1, 16))


def test_a_package_that_is_absent_makes_it_unavailable() -> None:
    stack = Stack(versions={"torch": "2.13.0", "transformers": "5.24.0"}, device=Device.CPU)
    rules = load_rules(ARCHITECTURES)
    for cell, missing in (
        ("llama-float32-sdpa-left-quantised_hqq4-generate", ("hqq",)),
        ("mistral-float32-sdpa-left-quantised_quanto4-generate", ("optimum-quanto",)),
    ):
        expectation = expect(parse_cell(cell), stack, rules)
        assert (expectation.outcome, expectation.missing) == (Outcome.UNAVAILABLE, missing)


def test_neither_weights_nor_prefill_come_with_it() -> None:
    for cell in ("llama-bfloat16-sdpa-nf4-quantised_fp8-generate", "llama-float32-sdpa-quantised_fp8-prefill"):
        assert why_impossible(parse_cell(cell), ARCHITECTURES["llama"])


def test_the_baseline_is_asked_once_for_a_run() -> None:
    asked: list[object] = []
    found = OneRun(
        "", torch.zeros(1, 1, 4), {}, torch.ones(1, 1, dtype=torch.bool), rounding=lambda *of: asked.append(of)
    )
    references = object()
    assert [found.rounding(references) for _ in range(3)] == [None] * 3
    assert asked == [(references, {})]
