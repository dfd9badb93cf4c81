"""Layers from the hub: what was put in place of the model's own is seen, and judged."""

from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
import transformers

from matrix.verdict import Verdict
from tests.rooms import observed

CELL = "llama-float32-sdpa-hub_kernels-left-prefill"


def norm(factor: float) -> Callable[..., Any]:
    """A kernel for RMSNorm, of which the result is so many times what it should be."""

    def forward(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(hidden_states.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return factor * self.weight * hidden_states * scale

    return forward


@pytest.mark.parametrize(
    ("kernel", "verdict", "words"),
    [
        (norm(1.0), Verdict.SUPPORTED, ""),
        (norm(1.02), Verdict.INACCURATE, "exceeds"),
        (None, Verdict.SUBSTITUTED, "nothing came from the hub"),
    ],
)
def test_a_layer_of_the_hub_runs_in_place_of_the_models_own(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., Any] | None, verdict: Verdict, words: str
) -> None:
    def put_in_place(model: Any, use: bool, *_: object) -> None:
        for module in model.modules():
            if use and type(module).__name__ == "LlamaRMSNorm":
                module.forward = MethodType(kernel or type(module).forward, module)

    monkeypatch.setattr(transformers.PreTrainedModel, "set_use_kernels", put_in_place)
    observation, judgement = observed(CELL, cache)
    assert judgement.verdict is verdict, judgement.reason
    assert words in judgement.reason
    assert observation.evidence.replaced_forward == ({"LlamaRMSNorm": 5} if kernel else {})
