"""Another attention implementation for a model that is loaded."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import transformers

from conformance.faults import FAULTS, Fault
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-left-switched"


@pytest.mark.parametrize("cell", [CELL, "bert-bfloat16-sdpa-math-switched", "t5-float16-sdpa-left-switched"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    evidence = must_hold(cell, cache).evidence
    assert set(evidence.attn_implementations.values()) == {"sdpa"}
    assert evidence.sdpa_calls > 0


def test_a_class_that_only_warns_and_goes_on_is_substituted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.LlamaForCausalLM, "set_attn_implementation", lambda self, implementation: None)
    observation, judgement = observed(CELL, cache)
    assert judgement.verdict is Verdict.SUBSTITUTED, judgement.reason
    assert "eager" in judgement.reason
    assert observation.evidence.sdpa_calls == 0  # those of the model that was loaded with sdpa are another's


def test_a_class_that_says_so_and_does_not_is_substituted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config names sdpa, and what runs is eager attention still."""

    def pretend(self: Any, implementation: str) -> None:
        forward = self.forward
        eager = self.config._attn_implementation

        def as_before(*args: Any, **kwargs: Any) -> Any:
            self.config._attn_implementation_internal = eager
            try:
                return forward(*args, **kwargs)
            finally:
                self.config._attn_implementation_internal = implementation

        self.config._attn_implementation_internal = implementation
        self.forward = as_before

    monkeypatch.setattr(transformers.LlamaForCausalLM, "set_attn_implementation", pretend)
    judgement = observed(CELL, cache)[1]
    assert judgement.verdict is Verdict.SUBSTITUTED, judgement.reason
    assert "kernels that ran: eager" in judgement.reason


def switched_to_another_scale(model: Any) -> AbstractContextManager[Any]:
    """What is switched forgets the scale that the class asks for."""
    usual = transformers.LlamaForCausalLM.set_attn_implementation

    def forgetful(self: Any, implementation: str) -> None:
        usual(self, implementation)
        for module in self.modules():
            if hasattr(module, "scaling"):
                module.scaling = 1.02 * module.scaling

    return mock.patch.object(transformers.LlamaForCausalLM, "set_attn_implementation", forgetful)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_switch_that_changes_the_numbers_is_seen(cache: Path, dtype: str) -> None:
    fault = Fault("forgetful", "a switch that loses what the class asks for", bool, running=switched_to_another_scale)
    assert "switched" in must_break(f"llama-{dtype}-sdpa-left-switched", fault, cache)


def test_a_seeded_fault_of_the_loaded_model_is_seen(cache: Path) -> None:
    assert "switched" in must_break(CELL, FAULTS["layer_repeated"], cache)
