"""The numerical rule: a candidate may err as much as eager attention in the same dtype errs, and a little more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matrix.dials import explanation, off
from matrix.observation import Comparison


@dataclass(frozen=True)
class Tolerance:
    """How many times the baseline's error a candidate may err."""

    k_max: float
    k_mean: float


# Chosen from two measurements with calibrated fixtures of seeds 0 to 3. Honest: 6,682 cells on an H100 (torch 2.11,
# transformers 5.17, flash-attn 2.8.3, bitsandbytes 0.50.2) needed at most k_max 1.62 and k_mean 1.17 unquantised, 2.93
# and 1.43 quantised, where activations that are rounded to 8 bits flip between neighbours; of 2,978 of mixtures of
# experts and recurrent models one needed 2.16 (Mixtral in float32), the next 1.8. Seeded faults: the smallest
# that must be caught, 2 % of softmax scale in bfloat16, has a mean error of 1.6 to 2.1 times the baseline's, so that
# k_mean is what decides; k_max is for errors in few places, which are larger by orders of magnitude.
UNQUANTISED = Tolerance(k_max=3.0, k_mean=1.4)
# In float32 the smallest of those, 0.02 % of softmax scale, has a mean error of 135 to 300 times the bound above: room
# costs little there. Of 5,000 honest cells of the 480 types of transformers 5.17 on an H100 routers amplified what
# eager and SDPA round differently to k_mean 2.76 (LFM2-MoE), a recurrence to k_max 3.33 (OLMo Hybrid).
SINGLE = Tolerance(k_max=5.0, k_mean=3.2)
# Two runs that must agree: 5,020 honest relations on an H100 needed at most 0.42 of this.
AGREEING = Tolerance(k_max=2.0, k_mean=1.4)
QUANTISED = Tolerance(k_max=4.0, k_mean=1.8)
# Gradients sum over every position and layer. 96 honest training cells (H100 and CPU, transformers 4.48 to 5.23) needed
# at most 2.18 and 1.45, both in float32 through SDPA; in 16 bits 1.3 and 1.1. A softmax scale that is wrong by 2 % has
# a mean error of 15,000 to 30,000 times the bound in float32, and of 1.06 to 1.59 times the bound in bfloat16.
GRADIENTS = Tolerance(k_max=4.0, k_mean=2.0)
# A token chosen greedily is at most twice the allowed logit error below the best one: the error can lift the chosen
# logit and lower the best one. A log-probability is off by as much at most: its own logit, and the sum of all.
CONSEQUENCE_FACTOR = 2.0


# One run of eager attention is a yardstick of how much runs like it err, unless luck decides: where a router is at a
# near tie, or a text attends to a few tokens of a picture, it errs twice as much, or 30 times in one place, when its
# inputs are rounded otherwise. What is beyond the bounds by no more than this is held against the worst of such runs.
LUCK = 10.0


# Eager attention is a yardstick only where it is itself as near to the truth as its dtype allows. In 3,810 comparisons
# (CPU and H100) its mean error was at most 37.7 times what it costs to write the truth down in float32, 480 times where
# convolutions of hundreds of channels run on an H100, and 10.5 times in 16 bits; with weights that were never loaded,
# 379 times in bfloat16 and millions in float32.
YARDSTICK_LIMIT = 200.0
YARDSTICK_LIMIT_SINGLE = 1000.0


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
    """The max rule, the mean rule and, where something was made of the logits, the rule of its consequences.

    max|C-G| <= k_max * max|B-G| + floor_max, the form of flash-attention's own tests, and
    mean|C-G| <= k_mean * max(mean|B-G|, floor_mean): floors for baselines that err by nothing.
    Two runs that must agree may each err by as much, so the bounds of a relation are twice as wide.
    """
    tolerance = _tolerance(comparison)
    allowed_max = comparison.runs * (tolerance.k_max * comparison.baseline_max + comparison.floor_max)
    usual_mean = max(comparison.baseline_mean, comparison.floor_mean, key=nan_last)
    k_mean = tolerance.k_max if comparison.few else tolerance.k_mean
    allowed_mean = comparison.runs * k_mean * usual_mean
    found = [
        Bound(f"{comparison.name} max", comparison.candidate_max, allowed_max),
        Bound(f"{comparison.name} mean", comparison.candidate_mean, allowed_mean),
    ]
    consequences = dict(comparison.consequences)
    if comparison.regret_max is not None:
        consequences["regret"] = comparison.regret_max
    for name, value in consequences.items():
        found.append(Bound(f"{comparison.name} {name}", value, CONSEQUENCE_FACTOR * allowed_max))
    return tuple(found)


def _tolerance(comparison: Comparison) -> Tolerance:
    if comparison.gradients:
        return GRADIENTS
    if comparison.quantised:
        return QUANTISED
    if comparison.runs > 1:
        return AGREEING
    return SINGLE if comparison.single else UNQUANTISED


def may_be_luck(comparisons: Sequence[Comparison]) -> bool:
    """Whether only the size of errors speaks against a run, and an unlucky one of eager attention may err as much."""
    if any(_gate(one) or one.gradients for one in comparisons):
        return False
    return 1 < max((bound.ratio for one in comparisons for bound in bounds(one)), default=0.0) <= LUCK


def no_yardstick(comparison: Comparison) -> str:
    """Why the baseline cannot be measured by, or empty. Quantised ones and gradients have no such floor."""
    measured = comparison.shape_matches and comparison.finite and comparison.floor_mean != 0
    if comparison.quantised or comparison.gradients or not measured:
        return ""
    times = comparison.baseline_mean / comparison.floor_mean
    if times <= (YARDSTICK_LIMIT_SINGLE if comparison.single else YARDSTICK_LIMIT):
        return ""
    off = f"eager itself is off by {comparison.baseline_mean:.3g} on average"
    return f"{comparison.name}: {off}, {times:.3g} times what rounding to its dtype costs: nothing to measure by"


def nan_last(value: float) -> float:
    """A key by which what is not a number is the largest."""
    return math.inf if math.isnan(value) else value


def problems(comparison: Comparison) -> tuple[str, ...]:
    """Why the comparison fails, in words with values; empty when it holds."""
    gate = _gate(comparison)
    if gate:
        return gate
    beyond = tuple(
        f"{bound.name} error {bound.value:.3g} exceeds {bound.allowed:.3g} ({bound.ratio:.2f} of the bound)"
        for bound in bounds(comparison)
        if not bound.holds
    )
    dials = explanation(comparison.readings) if beyond or off(comparison.readings) else ()
    return (*beyond, *(f"{comparison.name}: {dial}" for dial in dials))


def logits_are_off(comparison: Comparison) -> bool:
    """Whether the logits are out of bounds, and not only what was made of them."""
    return any(not bound.holds for bound in bounds(comparison)[:2])


def _gate(comparison: Comparison) -> tuple[str, ...]:
    gate = []
    if comparison.positions == 0:
        gate.append(f"{comparison.name}: no position was compared")
    if not comparison.shape_matches:
        gate.append(f"{comparison.name}: the shape of the logits differs from the golden run's")
    if not comparison.dtype_matches:
        gate.append(f"{comparison.name}: the dtype of the logits is not the cell's")
    if not comparison.finite:
        gate.append(f"{comparison.name}: logits are not finite")
    if comparison.runs == 1 and comparison.candidate_max == 0 < comparison.baseline_max:
        gate.append(f"{comparison.name}: equal to the truth to the last bit, which no run in that dtype is")
    return tuple(gate)
