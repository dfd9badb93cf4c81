"""What is advised of what was measured, what is as good, and why not the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from matrix.advice.noise import Gain, gain
from matrix.advice.search import Course, Found, Known, State, cost, costs, excluded
from matrix.advice.space import Configuration, Model, departures, eager_of
from matrix.advice.wanted import Wanted


@dataclass(frozen=True)
class Choice:
    """What is advised."""

    advised: Configuration
    alike: tuple[Configuration, ...]  # not told from the best by the noise, the advised one left out
    over_default: Gain | None  # None where the default is what is advised, or could not be measured
    over_eager: Gain | None


def choose(found: Found, model: Model, wanted: Wanted) -> Choice | None:
    """The best of the final; of those that the noise does not tell from it, the one that asks for the least.

    None where nothing may be advised.
    """
    known = found.known
    may = [one for one in known if known[one].final and not excluded(one, known[one], model, wanted)]
    may = [one for one in may if costs(known[one], wanted)]
    if not may:
        return None
    best = min(may, key=lambda one: cost(known[one], wanted))
    alike = [one for one in may if one == best or not _told_apart(known[best], known[one], wanted)]
    advised = min(alike, key=lambda one: (departures(one, model.default), one != best, one.name))
    return Choice(
        advised=advised,
        alike=tuple(sorted((one for one in alike if one != advised), key=lambda one: cost(known[one], wanted))),
        over_default=_over(known, advised, model.default, wanted),
        over_eager=_over(known, advised, eager_of(advised, model.architecture), wanted),
    )


def _told_apart(best: Known, other: Known, wanted: Wanted) -> bool:
    found = gain(costs(best, wanted), costs(other, wanted))
    return found is not None and found.better


def _over(known: Course, one: Configuration, other: Configuration, wanted: Wanted) -> Gain | None:
    if one == other or other not in known:
        return None
    ours, theirs = costs(known[one], wanted), costs(known[other], wanted)
    if not ours or not theirs:
        return None
    # What fell out before the final has no round in common: the ratio without an interval.
    return gain(ours, theirs) or gain({0: fmean(ours.values())}, {0: fmean(theirs.values())})


def why_not(one: Configuration, found: Found, choice: Choice | None, model: Model, wanted: Wanted) -> str:
    """Why a configuration that was tried is not what is advised; empty for that which is."""
    known = found.known[one]
    if choice is not None and one == choice.advised:
        return ""
    if known.finding.state is not State.RIGHT:
        return f"{known.finding.state}: {known.finding.why}" if known.finding.why else known.finding.state.value
    if not known.timed:
        failed = next(iter(known.failed.values()), None)
        return f"{failed.state}: {failed.why}" if failed else "right, and not timed: the time was spent"
    if against := excluded(one, known, model, wanted):
        return against
    if choice is None:
        return ""
    if one in choice.alike:
        return "within the noise of what is advised, and asks for more"
    over = gain(costs(found.known[choice.advised], wanted), costs(known, wanted))
    if over is not None:
        return _slower(over, wanted)
    ratio = cost(known, wanted) / cost(found.known[choice.advised], wanted)
    if ratio > 1:
        return f"{_word(wanted)}, about {ratio:.2f} times, and left out before the final"
    return "as good in the few calls before the final, and left out there"


def _slower(over: Gain, wanted: Wanted) -> str:
    if over.better:
        return f"{_word(wanted)}: {over.words}"
    return f"not told from what is advised: {over.words}"


def _word(wanted: Wanted) -> str:
    return "takes more memory" if wanted.prefer == "memory" else "slower"


def front(points: Mapping[Configuration, Sequence[float]]) -> frozenset[Configuration]:
    """Those that no other is better than in one thing and at least as good as in all; the less the better."""

    def beaten(one: Configuration) -> bool:
        mine = points[one]
        return any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and tuple(other) != tuple(mine)
            for other in points.values()
        )

    return frozenset(one for one in points if not beaten(one))
