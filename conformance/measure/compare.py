"""Logits against logits: the numbers that the oracle judges."""

from dataclasses import replace

import torch

from conformance.measure.training import in_units_of
from matrix.axes import Dtype
from matrix.observation import Comparison, QuantisationCost

# Logits of shape (batch, positions, vocabulary), and gradients by the name of their parameter.
Step = tuple[torch.Tensor, dict[str, torch.Tensor]]


def compare(
    name: str,
    *,
    candidate: torch.Tensor,
    baseline: torch.Tensor,
    golden: torch.Tensor,
    attended: torch.Tensor,
    dtype: Dtype,
    quantised: bool = False,
    gradients: bool = False,
    chosen: torch.Tensor | None = None,
    banned: tuple[int, ...] = (),
) -> Comparison:
    """Errors over the attended positions.

    Args:
        candidate, baseline, golden: logits of shape (batch, positions, vocabulary).
        attended: bool mask of shape (batch, positions).
        dtype: the cell's dtype, in which the floor is computed.
        quantised: whether the weights are.
        gradients: whether these are gradients instead of logits.
        chosen: token ids of shape (batch, positions) that generation chose, for the regret.
        banned: token ids that generation was not allowed to choose.
    """
    cell_dtype: torch.dtype = getattr(torch, dtype.value)
    attended = attended.to(golden.device)
    shape_matches = candidate.shape == golden.shape == baseline.shape
    # `generate` hands its logits out in float32, whatever the model computed in; so do some heads (CodeGen).
    dtype_matches = candidate.dtype in ({cell_dtype, baseline.dtype} if chosen is None else {cell_dtype, torch.float32})
    if not shape_matches:
        return Comparison(name, int(attended.sum()), False, dtype_matches, True, *[float("nan")] * 6)
    truth = golden[attended].double()
    ours = candidate.to(golden.device)[attended].double()
    eager = baseline[attended].double()
    written = truth.to(cell_dtype)
    nudged = ((written + 0.3) - 0.3).double()
    error, reference = (ours - truth).abs(), (eager - truth).abs()
    regret = None
    if chosen is not None:
        allowed = truth.clone()
        allowed[:, list(banned)] = float("-inf")
        picked = truth.gather(1, chosen.to(golden.device)[attended][:, None])[:, 0]
        regret = float((allowed.amax(1) - picked).max())
    return Comparison(
        name=name,
        positions=int(attended.sum()),
        shape_matches=True,
        dtype_matches=dtype_matches,
        finite=all(bool(torch.isfinite(values).all()) for values in (truth, ours, eager)),
        candidate_max=float(error.max()),
        candidate_mean=float(error.mean()),
        baseline_max=float(reference.max()),
        baseline_mean=float(reference.mean()),
        floor_max=float(2 * (nudged - written.double()).abs().max()),
        floor_mean=float((written.double() - truth).abs().mean()),
        regret_max=regret,
        quantised=quantised,
        gradients=gradients,
    )


def compare_steps(
    *,
    candidate: Step,
    baseline: Step,
    golden: Step,
    attended: torch.Tensor,
    dtype: Dtype,
    quantised: bool = False,
) -> tuple[Comparison, Comparison]:
    """Errors of the logits and of the gradients of a training step, each gradient in units of the golden one's size."""
    logits = compare(
        "logits",
        candidate=candidate[0],
        baseline=baseline[0],
        golden=golden[0],
        attended=attended,
        dtype=dtype,
        quantised=quantised,
    )
    ours, eager, truth = (in_units_of(golden[1], step[1]) for step in (candidate, baseline, golden))
    kept: torch.dtype = getattr(torch, dtype.value)
    gradients = compare(
        "gradients",
        candidate=ours.to(kept),
        baseline=eager.to(kept),
        golden=truth,
        attended=torch.ones(truth.shape[:2], dtype=torch.bool),
        dtype=dtype,
        gradients=True,
    )
    return logits, gradients


def compare_runs(
    name: str,
    *,
    one: torch.Tensor,
    other: torch.Tensor,
    baseline: torch.Tensor,
    golden: torch.Tensor,
    attended: torch.Tensor,
    dtype: Dtype,
    quantised: bool,
) -> Comparison:
    """The difference of two runs that must agree, beside what an ordinary run in that dtype errs by.

    Golden and baseline give the scale of rounding alone: neither is the truth here.
    """
    usual = compare(
        name, candidate=one, baseline=baseline, golden=golden, attended=attended, dtype=dtype, quantised=quantised
    )
    if not usual.shape_matches or one.shape != other.shape:
        return replace(usual, shape_matches=False, runs=2)
    first, second = (logits.to(golden.device)[attended.to(golden.device)].double() for logits in (one, other))
    difference = (second - first).abs()
    return replace(
        usual,
        finite=usual.finite and bool(torch.isfinite(second).all()),
        candidate_max=float(difference.max()),
        candidate_mean=float(difference.mean()),
        runs=2,
    )


def quantisation_cost(
    *, candidate: torch.Tensor, unquantised: torch.Tensor, attended: torch.Tensor
) -> QuantisationCost:
    """KL(unquantised || candidate) per attended position, and how often both prefer the same token."""
    attended = attended.to(unquantised.device)
    truth = torch.log_softmax(unquantised[attended].double(), dim=-1)
    ours = torch.log_softmax(candidate.to(unquantised.device)[attended].double(), dim=-1)
    divergence = (truth.exp() * (truth - ours)).sum(-1)
    return QuantisationCost(
        kl_mean=float(divergence.mean()),
        kl_p99=float(divergence.quantile(0.99)),
        top1_agreement=float((truth.argmax(-1) == ours.argmax(-1)).double().mean()),
    )
