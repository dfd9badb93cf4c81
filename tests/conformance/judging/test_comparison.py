"""The numbers that the oracle is given."""

import math

import torch

from conformance.judging.comparison import compare, in_units_of
from matrix.axes import Dtype


def logits(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    golden = torch.randn(2, 3, 8, dtype=torch.float64)
    made = {
        "golden": golden,
        "baseline": (golden + 1e-3).float(),
        "candidate": (golden - 2e-3).float(),
        "attended": torch.tensor([[True, True, True], [False, True, True]]),
    }
    return {**made, **changes}


def test_comparison_measures_attended_positions_only() -> None:
    found = compare("logits", dtype=Dtype.FLOAT32, **logits())
    assert found.positions == 5
    assert math.isclose(found.candidate_max, 2e-3, rel_tol=1e-3)
    assert math.isclose(found.baseline_mean, 1e-3, rel_tol=1e-3)
    candidate = logits()["candidate"]
    candidate[1, 0] = float("nan")  # padding
    assert compare("logits", dtype=Dtype.FLOAT32, **logits(candidate=candidate)).finite
    candidate[1, 1, 3] = float("nan")
    assert not compare("logits", dtype=Dtype.FLOAT32, **logits(candidate=candidate)).finite


def test_what_a_head_rules_out_has_the_lowest_number_of_its_dtype() -> None:
    made = logits()
    for found in made.values():
        if found.is_floating_point():
            found[..., 5] = torch.finfo(found.dtype).min
    found = compare("logits", dtype=Dtype.FLOAT32, **made)
    assert found.finite
    assert math.isclose(found.candidate_max, 2e-3, rel_tol=1e-3)
    made["candidate"][0, 0, 5] = 3.0
    assert compare("logits", dtype=Dtype.FLOAT32, **made).candidate_max > 1e38


def test_comparison_notices_dtype_and_shape() -> None:
    assert compare("logits", dtype=Dtype.FLOAT32, **logits()).dtype_matches
    assert not compare("logits", dtype=Dtype.FLOAT16, **logits(baseline=logits()["baseline"].half())).dtype_matches
    assert compare("logits", dtype=Dtype.FLOAT16, **logits()).dtype_matches  # a head that is float32 in eager too
    assert not compare("logits", dtype=Dtype.FLOAT32, **logits(candidate=torch.zeros(2, 2, 8))).shape_matches


def test_each_parameter_is_measured_by_its_own_gradient() -> None:
    golden = {"large": torch.full((4,), 100.0), "small": torch.full((4,), 0.1), "nought": torch.zeros(4)}
    found = in_units_of(
        golden, {"large": golden["large"] * 1.5, "small": golden["small"] * 1.5, "nought": golden["nought"]}
    )
    large, nought, small = found[0, :, 0].reshape(3, 4)
    assert torch.allclose(large, torch.tensor(1.5).double())
    assert torch.allclose(small, torch.tensor(1.5).double())
    assert (nought == 0).all()
    missing = in_units_of(golden, {"large": golden["large"], "nought": golden["nought"]})
    assert torch.isnan(missing).sum() == 4
