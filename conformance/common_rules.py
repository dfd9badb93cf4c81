"""The rules by which others decide whether two runs agree, applied to the logits that the suite's own oracle judges."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from matrix.axes import Dtype


@dataclass(frozen=True)
class Logits:
    """What a prefill or generation is judged by, each of shape (batch, positions, vocabulary)."""

    candidate: torch.Tensor
    baseline: torch.Tensor
    golden: torch.Tensor
    attended: torch.Tensor  # bool, (batch, positions)
    chosen: torch.Tensor | None  # generation: the tokens chosen, (batch, positions)
    forced: Mapping[str, torch.Tensor]  # the batch that golden and baseline were given


# transformers, tests/test_modeling_common.py, test_eager_matches_sdpa_inference: (atol, rtol) by dtype.
_TRANSFORMERS = {
    Dtype.FLOAT32: (1e-6, 1e-4),
    Dtype.FLOAT16: (5e-3, 5e-3),
    Dtype.BFLOAT16: (1e-2, 1e-2),
}
_BFLOAT16_SHARE = 0.03  # there atol is at least this share of the largest output
_BFLOAT16_RTOL_ON_CUDA = 3e-2
_ROWS = 0.8

# torch.testing.assert_close: (atol, rtol) by dtype.
_ASSERT_CLOSE = {
    Dtype.FLOAT32: (1e-5, 1.3e-6),
    Dtype.FLOAT16: (1e-5, 1e-3),
    Dtype.BFLOAT16: (1e-5, 1.6e-2),
}


def transformers_passes(logits: Logits, dtype: Dtype) -> bool:
    """Whether at least 80 % of the batch's rows are allclose to eager's, on their attended positions."""
    atol, rtol = _TRANSFORMERS[dtype]
    if dtype is Dtype.BFLOAT16:
        atol = max(atol, _BFLOAT16_SHARE * float(logits.baseline.abs().max()))
        rtol = _BFLOAT16_RTOL_ON_CUDA if logits.candidate.is_cuda else rtol
    matches = [
        torch.allclose(ours[seen], eager[seen], atol=atol, rtol=rtol)
        for ours, eager, seen in zip(*_alike(logits), strict=True)
    ]
    return sum(matches) >= _ROWS * len(matches)


def assert_close_passes(logits: Logits, dtype: Dtype) -> bool:
    """Whether `torch.testing.assert_close` with its defaults accepts the attended positions beside eager's."""
    ours, eager, attended = _alike(logits)
    atol, rtol = _ASSERT_CLOSE[dtype]
    return torch.allclose(ours[attended], eager[attended], atol=atol, rtol=rtol)


def _alike(logits: Logits) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    # `generate` hands out float32 whatever the model computed in.
    baseline = logits.baseline.to(logits.candidate)
    return logits.candidate, baseline, logits.attended.to(logits.candidate.device)
