"""The whole model through torch.compile, recorded in CUDA graphs: what stands in for a GPU replays as one does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.evidence import compiled
from matrix.verdict import Verdict
from tests.rooms import observed

PREFILL = "llama-float32-sdpa-reduce_overhead-left-prefill"


class Recorded:
    """A graph that runs plain, then is recorded, and from then on is replayed into the same memory."""

    def __init__(self, graph: Callable[..., Any], copies: bool) -> None:
        self.graph, self.copies, self.runs = graph, copies, 0

    def __call__(self, *inputs: Any) -> Any:
        self.runs += 1
        if self.runs == 1:
            return self.graph(*inputs)
        if self.runs == 2 or self.copies:
            self.inputs = inputs
        torch.cuda.CUDAGraph.replay(self)  # type: ignore[arg-type]
        answered = self.graph(*self.inputs)
        if self.runs == 2:
            self.outputs = answered
        for kept, fresh in zip(self.outputs, answered, strict=True):
            if isinstance(kept, torch.Tensor):
                kept.copy_(fresh)
        return self.outputs


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: None)


def test_what_is_replayed_with_its_inputs_is_right(replays: None, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compile_graph", lambda graph, inputs, mode: Recorded(graph, copies=True))
    observation, judgement = observed(PREFILL, cache)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert observation.evidence.graphs["replays"] == 2
    assert observation.evidence.graphs["runs"] == 3


def test_a_graph_that_is_replayed_with_old_inputs_is_caught(
    replays: None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "compile_graph", lambda graph, inputs, mode: Recorded(graph, copies=False))
    assert observed(PREFILL, cache)[1].verdict is Verdict.INACCURATE


def test_what_launches_its_kernels_one_by_one_is_not_what_the_name_promises(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def as_it_is(graph: Callable[..., Any], inputs: object, mode: str) -> Callable[..., Any]:
        modes.append(mode)
        return graph

    monkeypatch.setattr(compiled, "compile_graph", as_it_is)
    judgement = observed(PREFILL, cache)[1]
    assert judgement.verdict is Verdict.SUBSTITUTED
    assert judgement.reason.startswith("CUDA graphs were replayed 0 times in 3 runs of what was compiled")
    assert modes == ["reduce-overhead"]


def test_a_prompt_that_fills_a_cache_runs_plain_and_no_other_pass(
    replays: None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaying(graph: Callable[..., Any], inputs: object, mode: str) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            torch.cuda.CUDAGraph.replay(run)  # type: ignore[arg-type]
            return graph(*given)

        return run

    monkeypatch.setattr(compiled, "compile_graph", replaying)
    generation = "llama-float32-sdpa-reduce_overhead-left-static-generate"
    observation, judgement = observed(generation, cache)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert observation.evidence.graphs["plain"] == 1
    assert observation.evidence.graphs["runs"] >= observation.evidence.graphs["forwards"] - 1 > 1
    with torch._dynamo.config.patch(disable=True):
        judgement = observed(generation, cache)[1]
    assert judgement.verdict is Verdict.SUBSTITUTED
    assert "forward passes ran plain" in judgement.reason
