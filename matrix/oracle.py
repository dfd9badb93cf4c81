"""The numerical rule: a candidate may err as much as eager attention in the same dtype errs, and a little more."""

import math
from dataclasses import dataclass

from matrix.observation import Comparison

# As close to the truth as the baseline is: first readings of honest cells lie at ratio 0.7-1.2.
K_MAX = 2.0
K_MEAN = 1.4
# A token chosen greedily is at most twice the allowed logit error below the best one: the error can
# lift the chosen logit and lower the best one.
REGRET_FACTOR = 2.0


@dataclass(frozen=True)
class Bound:
    """One measured value against the most that is allowed."""

    name: str
    value: float
    allowed: float

    @property
    def holds(self) -> bool:
        """False for NaN too."""
        return self.value <= self.allowed

    @property
    def ratio(self) -> float:
        """Value over bound: 1 is the edge."""
        if self.allowed == 0:
            return 0.0 if self.value == 0 else float("inf")
        return self.value / self.allowed


def bounds(comparison: Comparison) -> tuple[Bound, ...]:
    """The max rule, the mean rule and, for generation, the regret rule.

    max|C-G| <= K_MAX * max|B-G| + floor_max, the form of flash-attention's own tests (error at most twice the
    reference's), and mean|C-G| <= K_MEAN * max(mean|B-G|, floor_mean): floors for baselines that err by nothing.
    Two runs that must agree may each err by as much, so the bounds of a relation are twice as wide.
    """
    allowed_max = comparison.runs * (K_MAX * comparison.baseline_max + comparison.floor_max)
    usual_mean = max(comparison.baseline_mean, comparison.floor_mean, key=_nan_first)
    allowed_mean = comparison.runs * K_MEAN * usual_mean
    found = [
        Bound(f"{comparison.name} max", comparison.candidate_max, allowed_max),
        Bound(f"{comparison.name} mean", comparison.candidate_mean, allowed_mean),
    ]
    if comparison.regret_max is not None:
        found.append(Bound(f"{comparison.name} regret", comparison.regret_max, REGRET_FACTOR * allowed_max))
    return tuple(found)


def _nan_first(value: float) -> float:
    return math.inf if math.isnan(value) else value


def problems(comparison: Comparison) -> tuple[str, ...]:
    """Why the comparison fails, in words with values; empty when it holds."""
    gate = []
    if comparison.positions == 0:
        gate.append(f"{comparison.name}: no position was compared")
    if not comparison.shape_matches:
        gate.append(f"{comparison.name}: the shape of the logits differs from the golden run's")
    if not comparison.dtype_matches:
        gate.append(f"{comparison.name}: the dtype of the logits is not the cell's")
    if not comparison.finite:
        gate.append(f"{comparison.name}: logits are not finite")
    if gate:
        return tuple(gate)
    return tuple(
        f"{bound.name} error {bound.value:.3g} exceeds {bound.allowed:.3g} ({bound.ratio:.2f} of the bound)"
        for bound in bounds(comparison)
        if not bound.holds
    )
