"""How many times one configuration is as good as another, with an interval: rounds in turn, compared in pairs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

# Student's t, two-sided 95 %, by degrees of freedom (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2).
_T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}
# Of so many rounds the lowest and the highest are left out: a host stops now and then, and one of BERT-large's five on
# an H100 took twice as long. Of 6,000 pairs that are alike 4 to 5 in 100 are told apart by it; of every fifth round 6.
_TRIMMED = 6
NEGLIGIBLE = 0.01  # a share that nobody would change a configuration for
# Seconds, and calls. While others are asked the processor forgets one that waits: of BERT-large in CUDA graphs on an
# H200 the call after a pause took 3.6 to 5.3 ms, and those that follow at once 2.4.
SHORT, MOST_REPEATS = 0.1, 50


def repeats(seconds: float) -> int:
    """How many more calls are timed where one took so long: of a short one they count, and not the first."""
    return min(MOST_REPEATS, math.ceil(SHORT / seconds)) if seconds < SHORT else 0


@dataclass(frozen=True)
class Gain:
    """How many times as much another costs: above 1 the first is better. 95 % of such intervals hold the truth."""

    ratio: float
    low: float
    high: float
    rounds: int

    @property
    def better(self) -> bool:
        """Whether the first is better beyond the noise."""
        return self.low > 1 + NEGLIGIBLE

    @property
    def worse(self) -> bool:
        """Whether the first is worse beyond the noise."""
        return self.high < 1 / (1 + NEGLIGIBLE)

    @property
    def told(self) -> bool:
        """Whether there are rounds enough for an interval at all."""
        return self.rounds > 1

    @property
    def words(self) -> str:
        """Such as “1.31 times (1.28 to 1.34)”."""
        if not self.told:
            how = "measured once" if self.rounds else "not measured in the same rounds"
            return f"about {self.ratio:.2f} times, {how}"
        return f"{self.ratio:.2f} times ({self.low:.2f} to {self.high:.2f})"


def gain(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Gain | None:
    """What the first gains over the second, by the rounds that both have; None where there is none.

    Costs, by round. What else the machine did in a round met both, so that the ratio of each round is what is averaged:
    its logarithm, trimmed, with the interval of Tukey and McLaughlin (1963), which is Student's of few rounds.
    """
    logs = sorted(math.log(theirs[number] / ours[number]) for number in ours if number in theirs)
    if not logs:
        return None
    kept, rounds = _trimmed(logs), len(logs)
    centre = fmean(kept)
    if rounds == 1:
        return Gain(math.exp(centre), 0.0, math.inf, 1)
    beyond = (rounds - len(kept)) // 2
    winsorised = [kept[0]] * beyond + kept + [kept[-1]] * beyond
    freedom = min(len(kept) - 1, max(_T95))
    reach = _T95[freedom] * stdev(winsorised) * math.sqrt(rounds) / len(kept)
    return Gain(math.exp(centre), math.exp(centre - reach), math.exp(centre + reach), rounds)


def middle(values: Iterable[float]) -> float:
    """Their mean without the lowest and the highest of many."""
    return fmean(_trimmed(sorted(values)))


def _trimmed(ordered: Sequence[float]) -> list[float]:
    beyond = len(ordered) // _TRIMMED
    return list(ordered[beyond : len(ordered) - beyond])
