"""What is advised of what was measured, what is as good, and why not the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matrix.advice.noise import Gain, gain, middle
from matrix.advice.search import Course, Found, Known, State, cost, costs, excluded
from matrix.advice.space import Configuration, Model, departures, eager_of
from matrix.advice.wanted import Wanted

# What a noisy machine cannot tell apart may still differ by much: who asks for less is not taken for that alone.
_NEAR = 1.05


@dataclass(frozen=True)
class Choice:
    """What is advised."""

    advised: Configuration
    alike: tuple[Configuration, ...]  # not told from the best by the noise, the advised one left out
    over_default: Gain | None  # None where the default is what is advised, or could not be measured
    over_eager: Gain | None


def choose(found: Found, model: Model, wanted: Wanted) -> Choice | None:
    """The best of the final; of those that the noise does not tell from it, and that are near it in the middle of the
    rounds, the one that asks for the least.

    None where nothing may be advised.
    """
    known = found.known
    may = [one for one in known if known[one].final and not excluded(one, known[one], model, wanted)]
    may = [one for one in may if costs(known[one], wanted)]
    if not may:
        return None
    best = min(may, key=lambda one: cost(known[one], wanted))
    alike = [one for one in may if one == best or _alike(known[best], known[one], wanted)]
    near = [one for one in alike if cost(known[one], wanted) <= _NEAR * cost(known[best], wanted)]
    advised = min(near, key=lambda one: (departures(one, model.default), one != best, one.name))
    return Choice(
        advised=advised,
        alike=tuple(sorted((one for one in alike if one != advised), key=lambda one: cost(known[one], wanted))),
        over_default=_over(known, advised, model.default, wanted),
        over_eager=_over(known, advised, eager_of(advised, model.architecture), wanted),
    )


def _alike(best: Known, other: Known, wanted: Wanted) -> bool:
    """Whether the rounds that both have do not tell them apart; what never met is not taken for alike."""
    found = gain(costs(best, wanted), costs(other, wanted))
    return found is not None and not found.better


def _over(known: Course, one: Configuration, other: Configuration, wanted: Wanted) -> Gain | None:
    if one == other or other not in known:
        return None
    return _between(known[one], known[other], wanted)


def _between(ours: Known, theirs: Known, wanted: Wanted) -> Gain | None:
    """By the rounds of the final; of what fell out before it by those that both have from there, or the means of them.

    Where each was held against a third alone (`search_all`), by the means of what there is of both. None where one of
    them was not timed.
    """
    if (found := gain(costs(ours, wanted), costs(theirs, wanted))) is not None:
        return found
    before = [costs(replace(known, final={}), wanted) for known in (ours, theirs)]
    if not all(before):
        before = [costs(known, wanted) for known in (ours, theirs)]
    if not all(before):
        return None
    if (found := gain(*before)) is not None:
        return found
    found = gain(*({0: middle(one.values())} for one in before))
    return found and replace(found, rounds=0)


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
        more = departures(one, model.default) > departures(choice.advised, model.default)
        return f"within the noise of what is advised, and {'asks for more' if more else 'behind it on the whole'}"
    if (failed := known.failed.get(wanted.rows[0])) is not None:
        return f"{failed.state} with {wanted.rows[0]} rows: {failed.why}"
    over = _between(found.known[choice.advised], known, wanted)
    if over is None:
        return "not timed beside what is advised"
    left = "" if known.final else ", and left out before the final"
    if over.better or (not over.told and over.ratio > 1):
        return f"{_word(wanted)}: {over.words}{left}"
    return f"not told from what is advised: {over.words}{left}"


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
