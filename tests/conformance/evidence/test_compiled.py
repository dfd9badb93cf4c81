"""What torch.compile makes of a model is counted, and what then runs is seen."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from conformance.evidence import compiled
from conformance.evidence.compiled import Compiled
from conformance.evidence.watch import Watch
from matrix.kernels import kernels_seen
from matrix.observation import Evidence


class Attends(torch.nn.Module):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(states, states, states)


class Breaks(Attends):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return super().forward(states)


def as_it_is(graph: Callable[..., Any], inputs: object, mode: str) -> Callable[..., Any]:
    """In place of inductor, which takes seconds."""
    return graph


def passes(model: torch.nn.Module, *lengths: int) -> Watch:
    watch = Watch()
    model.forward = torch.compile(model.forward, backend=Compiled(watch))
    with torch.no_grad(), watch.calls(model):
        for length in lengths:
            model(torch.randn(1, 2, length, 16))
    return watch


def test_what_inductor_compiled_calls_is_seen_and_counted_once() -> None:
    watch = passes(Attends(), 8, 8)
    assert watch.compiled.counts() == {"graphs": 1, "runs": 2, "forwards": 2, "plain": 0}
    assert watch.attention_ops == {"aten::_scaled_dot_product_flash_attention_for_cpu": 1}
    assert watch.sdpa_calls == 1


def test_attention_that_no_fused_op_answered_is_the_math_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compile_graph", lambda *_: lambda states: (states,))
    watch = passes(Attends(), 8)
    assert kernels_seen(Evidence(sdpa_calls=watch.sdpa_calls, attention_ops=dict(watch.attention_ops))) == ("math",)


def test_a_pass_in_which_nothing_compiled_runs_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compile_graph", as_it_is)
    with torch._dynamo.config.patch(recompile_limit=1, automatic_dynamic_shapes=False):
        watch = passes(Attends(), 8, 9, 10)
    assert watch.compiled.counts() == {"graphs": 1, "runs": 1, "forwards": 3, "plain": 2}


def test_the_model_is_left_as_it_was() -> None:
    model, watch = Attends(), Watch()
    Compiled(watch)
    usual, replay = model.forward, torch.cuda.CUDAGraph.replay
    with watch.calls(model):
        assert model.forward != usual
        assert torch.cuda.CUDAGraph.replay is not replay
    assert model.forward == usual
    assert "forward" not in vars(model), "torch would compile it once more"
    assert torch.cuda.CUDAGraph.replay is replay
