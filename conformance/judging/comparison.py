"""Logits against logits: the numbers that the oracle judges. Scripts carry it along."""

from dataclasses import replace

import torch

from matrix.observation import Comparison, QuantisationCost

FEW = 64  # numbers, of which a mean error is chance: two probabilities of each of four pictures, for one


def compare(
    name,
    *,
    candidate,
    baseline,
    golden,
    attended,
    dtype,
    quantised=False,
    gradients=False,
    generated=False,
    consequences=None,
):
    """Errors over the attended positions, as a Comparison.

    Args:
        name: what is compared, in words.
        candidate, baseline, golden: logits of shape (batch, positions, vocabulary).
        attended: bool mask of shape (batch, positions).
        dtype: name of the cell's dtype, in which the floor is computed.
        quantised: whether the weights are.
        gradients: whether these are gradients instead of logits.
        generated: whether they come from `generate`, which hands them out in float32 whatever the model computed in.
        consequences: by name a function of the true logits, of shape (attended, vocabulary), in float64.
    """
    cell_dtype = getattr(torch, dtype)
    attended = attended.to(golden.device)
    shape_matches = candidate.shape == golden.shape == baseline.shape
    # Some heads hand out float32, too (CodeGen).
    dtype_matches = candidate.dtype in {cell_dtype, torch.float32 if generated else baseline.dtype}
    if not shape_matches:
        return Comparison(name, int(attended.sum()), False, dtype_matches, True, *[float("nan")] * 6)
    # What a head rules out it gives the lowest number of its dtype, of which each dtype has its own.
    lowest = torch.finfo(cell_dtype).min
    ruled_out = golden[attended] == torch.finfo(golden.dtype).min
    truth, ours, eager = (
        torch.where(ruled_out, found.clamp_min(lowest), found)
        for found in (logits.to(golden.device)[attended].double() for logits in (golden, candidate, baseline))
    )
    written = truth.to(cell_dtype)
    nudged = ((written + 0.3) - 0.3).double()
    error, reference = (ours - truth).abs(), (eager - truth).abs()
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
        quantised=quantised,
        gradients=gradients,
        few=truth.numel() < FEW,
        single=cell_dtype is torch.float32,
        consequences={what: off(truth) for what, off in (consequences or {}).items()},
    )


def compare_steps(*, candidate, baseline, golden, attended, dtype, quantised=False):
    """Errors of the logits and of the gradients of a training step, each gradient in units of the golden one's size.

    Candidate, baseline and golden are logits of shape (batch, positions, vocabulary), and gradients by parameter.
    """
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
    kept = getattr(torch, dtype)
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


def compare_runs(name, *, one, other, baseline, golden, attended, dtype, quantised):
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


def quantisation_cost(*, candidate, unquantised, attended):
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


def in_units_of(golden, gradients):
    """Gradients as one tensor of shape (1, entries, 1), each parameter's in units of its own golden gradient.

    Without that the largest parameter would hide all others. One whose true gradient is zero, such as a bias of
    keys under softmax, is measured by the typical gradient instead.
    """
    sizes = {name: value.double().square().mean().sqrt() for name, value in golden.items()}
    typical = torch.stack(list(sizes.values())).median()
    parts = []
    for name in sorted(golden):
        found = gradients.get(name)
        if found is None:  # which the finiteness check turns down
            found = torch.full_like(golden[name], float("nan"))
        parts.append((found.to(golden[name].device).double() / torch.maximum(sizes[name], 1e-2 * typical)).flatten())
    return torch.cat(parts)[None, :, None]
