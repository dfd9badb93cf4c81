"""True float64."""

import pytest
import torch

from conformance.judging.precision import TrueFloat64, convolutions_in_float32


def test_true_float64_keeps_what_model_code_would_round_away() -> None:
    scores = torch.tensor([[0.1, 1e-12, -torch.finfo(torch.float64).max]], dtype=torch.float64)
    exact = torch.softmax(scores, -1)
    assert not torch.equal(torch.softmax(scores, -1, dtype=torch.float32).double(), exact)
    with TrueFloat64():
        assert torch.equal(torch.softmax(scores, -1, dtype=torch.float32), exact)
        assert scores.float().dtype == scores.to(torch.float32).dtype == torch.float64
        masked = torch.full((1, 4), torch.finfo(torch.float64).min, dtype=torch.float64)
        assert torch.softmax(masked, -1, dtype=torch.float32).isfinite().all()
    assert torch.softmax(masked, -1, dtype=torch.float32).isnan().all()


def test_true_float64_is_the_default_too_but_logarithms_sort_into_the_buckets_of_float32() -> None:
    distance = torch.tensor([3.0], dtype=torch.float64)
    with TrueFloat64():
        assert torch.full((1,), torch.finfo(torch.float64).min).isfinite().all()
        assert torch.log(distance).dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32
    assert torch.log(distance).dtype == torch.float64


def test_a_candidate_convolves_in_float32_and_the_switch_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with convolutions_in_float32():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
