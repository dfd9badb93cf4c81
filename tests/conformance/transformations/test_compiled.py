"""The whole model through torch.compile."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.evidence import compiled
from conformance.faults.catalogue import Fault
from conformance.faults.decoding import answering
from matrix.verdict import Verdict
from tests.rooms import must_break, observed

GENERATION = "llama-float32-sdpa-compiled-left-generate"


@contextlib.contextmanager
def old_inputs(model: Any) -> Iterator[None]:
    """Each decoding step sees the token of the step before it, as a graph does that is replayed without its inputs."""
    usual, last = model.forward, []

    def stale(*args: object, input_ids: torch.Tensor | None = None, **kwargs: object) -> object:
        last.append(input_ids)
        if input_ids is not None and input_ids.shape[1] == 1 and last[-2].shape[1] == 1:
            input_ids = last[-2]
        return usual(*args, input_ids=input_ids, **kwargs)

    with answering(model, stale):
        yield


@contextlib.contextmanager
def never_compiled(model: Any) -> Iterator[None]:
    """torch.compile gives up, and says nothing."""
    with torch._dynamo.config.patch(disable=True):
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What dynamo traced runs as it is: inductor takes half a minute."""
    monkeypatch.setattr(compiled, "compile_graph", lambda graph, inputs, mode: graph)


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    observation, judgement = observed("llama-float32-sdpa-compiled-left-prefill", cache)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    evidence = observation.evidence
    assert evidence.graphs["runs"] == evidence.graphs["forwards"] == 1
    assert not evidence.graph_breaks


@pytest.mark.usefixtures("quick")
def test_why_it_was_compiled_again_is_kept(cache: Path) -> None:
    observation, judgement = observed(GENERATION, cache)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert observation.evidence.graphs["graphs"] == len(observation.evidence.recompiled) + 1
    assert all("mismatch" in reason for reason in observation.evidence.recompiled)


@pytest.mark.usefixtures("quick")
def test_a_graph_that_is_replayed_with_old_inputs_is_caught(cache: Path) -> None:
    must_break(GENERATION, Fault("old_inputs", "a graph replayed with old inputs", bool, running=old_inputs), cache)


@pytest.mark.usefixtures("quick")
def test_a_model_that_runs_plain_is_none_that_is_compiled(cache: Path) -> None:
    fault = Fault("plain", "torch.compile that does nothing", bool, running=never_compiled)
    reason = must_break(GENERATION, fault, cache, Verdict.SUBSTITUTED)
    assert "nothing that was compiled ran" in reason
