"""Which configurations are measured, in which order and how often: waves, halved, and a final in turns.

What is wrong, or is something else than its name, is never timed. Of the right ones half goes on after each rung, with
twice the repeats; the last few are measured in turns together with what they are held against.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from statistics import fmean
from typing import Protocol

from matrix.advice.noise import gain, middle
from matrix.advice.space import (
    Configuration,
    Model,
    Untried,
    Wave,
    backends_first,
    departures,
    eager_of,
    in_fewer_bits,
    in_the_other_half,
    ways_to_run,
)
from matrix.advice.wanted import Prefer, Wanted
from matrix.cell import Cell
from matrix.expectation import Rule
from matrix.stack import Stack

FINALISTS = 4
FEWEST_ROUNDS, MOST_ROUNDS = 3, 8
SHORT = 32  # tokens that come out in the rungs before the final
_HALF_AT_LEAST = 2
_AS_SOON = 1.1  # two first tokens that were measured once
_IN_REACH = 1.1  # times the best of the final: what was measured once and takes more is not worth another
_MORE = 4  # times as many rounds as were asked for, at most
_COUNTS = 0.05  # of the time: what is advised is to be so near to the best
_FAR_BEHIND = 1.5  # times as much, whatever is preferred: no noise that was seen reaches so far in all of it
_ALIKE = 1.05  # two that were measured so rarely, and so near to each other, are not told apart
# What is left of the time when a wave has to end, as a share: those that come after it have theirs.
_UNTIL_BACKENDS, _UNTIL_WAYS, _UNTIL_ALIKE, _FOR_THE_FINAL, _UNTIL_THE_END = 0.65, 0.4, 0.5, 0.35, 0.15
_OVERRUN = 0.2  # as a share of the time, until the fewest rounds are done: of fewer no noise can be told


class State(StrEnum):
    """What became of a configuration."""

    RIGHT = "right"
    WRONG = "wrong"
    SUBSTITUTED = "substituted"  # something else ran
    REFUSED = "refused"  # raised, or documented to
    NOT_HERE = "not here"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    NOT_REACHED = "not reached"  # the time was spent
    NOT_JUDGED = "not judged"  # the truth could not be made


@dataclass(frozen=True)
class Spelled:
    """How somebody writes what was done, as the arguments were when it was done."""

    load: tuple[str, ...] = ()  # arguments of from_pretrained
    generate: tuple[str, ...] = ()  # arguments of generate
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a configuration is, before it is timed."""

    state: State
    why: str = ""
    loss: float | None = None  # nats a position that quantisation costs; None where it is not quantised, or not known
    ratio: float | None = None  # the worst error to its bound
    load_seconds: float | None = None
    weight_bytes: int | None = None  # of all parameters and buffers as they are held, and would be saved
    spelled: Spelled = field(default_factory=Spelled)


@dataclass(frozen=True)
class Sample:
    """One call, after those that warm up."""

    first: float  # seconds to the first token; of an encoder all of it
    whole: float  # seconds
    new: int  # tokens that came out
    peak: int  # bytes
    warm_up: float = 0.0  # seconds of the calls before, compilation among them; 0 where there was none

    def seconds(self, new: int) -> float:
        """Of a call with so many new tokens."""
        if not new:
            return self.whole
        return self.first + (new - 1) * self.by_token

    @property
    def by_token(self) -> float:
        """Seconds for each token after the first."""
        return (self.whole - self.first) / (self.new - 1) if self.new > 1 else 0.0


@dataclass(frozen=True)
class Failed:
    """Why a call could not be timed."""

    state: State
    why: str


class Trials(Protocol):
    """What measures. Tests put tables here."""

    def judge(self, one: Configuration) -> Finding:
        """Whether it is right."""

    def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
        """One call with that many rows and new tokens; of the final `turn` counts from 0, before it from below."""

    def left(self) -> float:
        """What is left of the time, as a share."""

    def say(self, line: str) -> None:
        """What is being done."""


@dataclass
class Known:
    """All that was measured of one configuration."""

    finding: Finding
    before: dict[int, dict[int, Sample]] = field(default_factory=dict)  # rows -> turn -> of the rungs
    final: dict[int, dict[int, Sample]] = field(default_factory=dict)  # rows -> turn -> of the final
    failed: dict[int, Failed] = field(default_factory=dict)  # by rows

    def samples(self, rows: int) -> dict[int, Sample]:
        """Those of the final, or else those before it."""
        return self.final.get(rows) or self.before.get(rows, {})

    @property
    def timed(self) -> bool:
        """Whether there is a sample."""
        return bool(self.before or self.final)


Course = dict[Configuration, Known]


@dataclass
class Found:
    """What a search came to."""

    known: Course
    untried: list[Untried] = field(default_factory=list)


def costs(known: Known, wanted: Wanted) -> dict[int, float]:
    """What somebody prefers least of, by turn: seconds, seconds for a row, or bytes."""
    rows = [one for one in wanted.batches if one not in known.failed and known.samples(one)]
    if not rows:
        return {}
    if wanted.prefer is Prefer.THROUGHPUT:
        by_rows = {one: {turn: s.seconds(wanted.new) / one for turn, s in known.samples(one).items()} for one in rows}
        return min(by_rows.values(), key=lambda found: middle(found.values()))
    samples = known.samples(rows[0])
    if wanted.prefer is Prefer.MEMORY:
        return {turn: float(max(1, sample.peak)) for turn, sample in samples.items()}
    return {turn: sample.seconds(wanted.new) for turn, sample in samples.items()}


def cost(known: Known, wanted: Wanted) -> float:
    """The middle of them; infinite where nothing was measured."""
    found = costs(known, wanted)
    return middle(found.values()) if found else float("inf")


def excluded(one: Configuration, known: Known, model: Model, wanted: Wanted) -> str:
    """Why it is not advised although it is right and was timed; empty where nothing speaks against it."""
    if known.finding.state is not State.RIGHT:
        return known.finding.why or known.finding.state.value
    if not known.timed:
        return "not timed"
    peaks = [sample.peak for rows in wanted.batches for sample in known.samples(rows).values()]
    if wanted.memory is not None and max(peaks, default=0) > wanted.memory:
        return f"takes {spelled_bytes(max(peaks))}, of {spelled_bytes(wanted.memory)} that it may take"
    if one.cell.quantisation.stored_as:
        if known.finding.loss is None:
            said = "its weights are generated" if not model.reads else "no loss in nats can be told of its output"
            return f"nobody knows what it costs in quality: {said}"
        if not known.finding.loss <= wanted.loss:
            return f"costs {known.finding.loss:.2g} nats, of {wanted.loss:g} that it may cost"
    return ""


def spelled_bytes(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def search(
    model: Model,
    wanted: Wanted,
    stack: Stack,
    rules: Sequence[Rule],
    trials: Trials,
    only: Container[Cell] | None = None,
) -> Found:
    """Measure what is worth it, wave by wave, as long as there is time.

    Of what is not in `only` nothing is tried but what the library does by itself, and eager attention.
    """
    found = Found({})
    hunt = _Hunt(model, wanted, trials, found, only)
    first = hunt.wave(backends_first(model, stack, rules), FINALISTS, _UNTIL_BACKENDS)
    bases = hunt.bases()
    ways = hunt.wave(ways_to_run(bases, model, wanted, stack, rules), FINALISTS, _UNTIL_WAYS)
    best = hunt.ranked([*first, *ways])
    # A half is as fast as the other, and what is quantised of generated weights is never advised: if there is time.
    halves = hunt.wave(in_the_other_half(best, model, stack, rules), FINALISTS, _UNTIL_ALIKE)
    until = _FOR_THE_FINAL if model.reads else _UNTIL_ALIKE
    bits = hunt.wave(in_fewer_bits(bases[0], model, stack, rules), FINALISTS, until) if bases else []
    hunt.final(hunt.ranked([*best, *halves, *bits]))
    hunt.late()
    return found


def search_again(model: Model, wanted: Wanted, trials: Trials, ones: Sequence[Configuration]) -> Found:
    """Measure these alone: whether what was advised still holds."""
    found = Found({})
    hunt = _Hunt(model, wanted, trials, found)
    hunt.final(hunt.ranked(hunt.wave((tuple(ones), ()), len(ones))))
    return found


def search_all(
    model: Model,
    trials: Trials,
    ones: Iterable[Configuration],
    rounds: int,
    advised: Sequence[tuple[Wanted, Configuration]],
) -> Found:
    """Measure all of these that are right in so many rounds: how far is what was advised from the best?

    Each in turns with the first of them alone: a machine that holds all of them at once, compiled, there is not. What
    is far behind what was advised, whatever for, is spared the other rounds. Where nobody knows after them if it is
    better by what counts, there are more: of many, one that was lucky in three would be called the best.

    Args:
        advised: what was advised, and what for: of the same prompts and numbers of rows.
    """
    wanted, found = advised[0][0], Found({})
    hunt = _Hunt(model, wanted, trials, found)
    race: _Race | None = None
    for place, one in enumerate(ones):
        if not hunt.is_right(one):
            continue
        race = race or _Race(found.known, one)
        pair = list(dict.fromkeys([race.first, one]))
        for done in range(_MORE * rounds):
            if race.is_far_behind(one, advised) or (done >= rounds and not race.may_be_better(one, advised)):
                break
            trials.say(f"{one.name}: round {done + 1}")
            # Of its own whatever the others needed, so that a call that goes on with it never pairs what did not meet.
            hunt.round(pair, place * _MORE * rounds + done, wanted.batches)
    return found


@dataclass(frozen=True)
class _Race:
    """Configurations that were each measured in turns with the first."""

    known: Mapping[Configuration, Known]
    first: Configuration

    def is_far_behind(self, one: Configuration, advised: Sequence[tuple[Wanted, Configuration]]) -> bool:
        """Whether it takes by far more than each that was advised in what that is for, in at least two calls."""
        ours, theirs = self.known[self.first].final, self.known[one].final
        if sum(len(samples.keys() & ours.get(rows, {}).keys()) for rows, samples in theirs.items()) < 2:
            return False
        for wanted, other in advised:
            usual, takes = (costs(self.known[each], wanted) for each in (self.first, one))
            far = _FAR_BEHIND / self._gain(other, wanted)
            if any(takes[turn] <= far * usual[turn] for turn in takes.keys() & usual.keys()):
                return False
        return True

    def may_be_better(self, one: Configuration, advised: Sequence[tuple[Wanted, Configuration]]) -> bool:
        """Whether nobody knows yet if it is better than what was advised for something by more than counts."""
        for wanted, other in advised:
            over_first = gain(*(costs(self.known[each], wanted) for each in (one, self.first)))
            counts = (1 + _COUNTS) * self._gain(other, wanted)
            if one != other and over_first is not None and over_first.low < counts < over_first.high:
                return True
        return False

    def _gain(self, one: Configuration, wanted: Wanted) -> float:
        """How many times as much the first costs; 1 where that is not known."""
        known = self.known.get(one)
        found = known and gain(*(costs(each, wanted) for each in (known, self.known[self.first])))
        return found.ratio if found else 1.0


class _Hunt:
    def __init__(
        self, model: Model, wanted: Wanted, trials: Trials, found: Found, only: Container[Cell] | None = None
    ) -> None:
        self.model, self.wanted, self.trials, self.found, self.only = model, wanted, trials, found, only
        self._compiling = 0.0  # what it takes to compile a model, as a share of the time
        self._rounds = 0  # of finals
        self._round = 0.0  # what the longest of them took, as a share of the time
        self._turn = -1  # before the final; below 0, so that no two are the same
        self._rows = wanted.rows

    def wave(self, wave: Wave, width: int, until: float = _FOR_THE_FINAL) -> list[Configuration]:
        """Those of a wave that go on, the best first; it ends when `until` is left of the time."""
        tried = [one for one in wave[0] if self._meant(one)]
        self.found.untried += [one for one in wave[1] if self._meant(one.configuration)]
        right = [one for one in tried if self._judged(one, until)]
        going = right
        repeats = 1
        while True:
            for _ in range(repeats):
                for one in _in_turn(going, self._turn):
                    self._sample(one)
                self._turn -= 1
            going = self.ranked(going)
            if len(going) <= width:
                return going
            going = self._half(going, width)
            repeats = min(4, 2 * repeats)
            if self.trials.left() < until:
                return going[:width]

    def bases(self) -> list[Configuration]:
        """With which caches and compilation are tried: the library's backend, what answers first, and the best.

        A GPU that decodes waits for the host, whose times stray: how fast a kernel is shows in the first token.
        """
        ranked = [one for one in self.ranked(list(self.found.known)) if one.cell.device_map == "none"]
        if not ranked:
            return []
        ranked = [one for one in ranked if one.cell.dtype == ranked[0].cell.dtype]
        usual, soon = self.model.default.cell, {one: self._first(one) for one in ranked}
        as_usual = [
            one for one in ranked if (one.cell.attention, one.cell.sdpa_kernel) == (usual.attention, usual.sdpa_kernel)
        ]
        soonest = [one for one in ranked if soon[one] <= _AS_SOON * min(soon.values())]
        nearest = min(soonest, key=lambda one: departures(one, self.model.default))
        return list(dict.fromkeys([*as_usual, nearest, ranked[0]]))

    def _first(self, one: Configuration) -> float:
        """Seconds to the first token, with as many rows as are told."""
        found = (self.found.known[one].samples(rows) for rows in self._rows)
        return next((fmean(sample.first for sample in samples.values()) for samples in found if samples), inf)

    def ranked(self, ones: Sequence[Configuration]) -> list[Configuration]:
        """Those that were timed, what may be advised before what may not, the best first.

        What takes too much memory as it is may be what takes little in fewer bits.
        """
        known = self.found.known
        timed = [one for one in ones if costs(known[one], self.wanted)]
        return sorted(timed, key=lambda one: (bool(self._excluded(one)), cost(known[one], self.wanted)))

    def _excluded(self, one: Configuration) -> str:
        return excluded(one, self.found.known[one], self.model, self.wanted)

    def final(self, ranked: Sequence[Configuration]) -> None:
        """Measure the first that may be advised in turns, beside the library's default and beside eager attention.

        With as many rows as decide first, until one is told from the next; then with the others, as time goes. How much
        memory they take decides as well, where it may be too much.
        """
        decide = self._rows[:1] if self.wanted.memory is None else self._rows
        finalists = self._may(ranked)[:FINALISTS]
        # Where the noise tells nothing apart the default is advised, and held against eager attention in its dtype.
        beside = [self.model.default]
        beside += [eager_of(one, self.model.architecture) for one in (*finalists[:1], self.model.default)]
        ones = list(dict.fromkeys([*finalists, *beside]))
        ones = [one for one in ones if self.is_right(one)]
        begin, self._rounds = self._rounds, self._rounds + MOST_ROUNDS
        for turn in range(MOST_ROUNDS):
            left = self.trials.left()
            if turn >= FEWEST_ROUNDS and (left <= 0 or self._decided(finalists)):
                break
            if turn and left <= -_OVERRUN:
                break
            self._final_round(ones, begin + turn, decide)
            self._round = max(self._round, left - self.trials.left())
        # Other rows are other shapes, for which is compiled once more.
        ones = [one for one in ones if not one.compiles or self.trials.left() > self._compiling - _OVERRUN]
        others = self._rows[len(decide) :]
        for turn in range(FEWEST_ROUNDS if others else 0):
            if self.trials.left() <= (0 if turn else -_OVERRUN):
                break
            self._final_round(ones, begin + turn, others)

    def late(self) -> None:
        """Try what was not reached, as long as there is time: what is nearest to the best first.

        What may be the best then is measured in a final of its own, with those of the first: only what was measured in
        the same rounds is compared.
        """
        known = self.found.known
        finalists = [one for one in self.ranked(list(known)) if known[one].final]
        best = next(iter(self._may(finalists)), None)
        waiting = [one for one in known if known[one].finding.state is State.NOT_REACHED]
        tried: list[Configuration] = []
        for one in sorted(waiting, key=lambda one: departures(one, best or self.model.default)):
            del known[one]
            if self._judged(one, _UNTIL_THE_END):
                self._sample(one)
                self._turn -= 1
                tried.append(one)
        within = inf if best is None else _IN_REACH * cost(known[best], self.wanted)
        in_reach = any(cost(known[one], self.wanted) <= within for one in self._may(tried))
        if in_reach and self.trials.left() + _OVERRUN >= FEWEST_ROUNDS * self._round:
            for measured in known.values():
                for rows, samples in measured.final.items():
                    measured.before[rows] = measured.before.get(rows, {}) | samples
                measured.final = {}
            self.final(self.ranked([*finalists, *tried]))

    def _may(self, ones: Sequence[Configuration]) -> list[Configuration]:
        """Those that may be advised, the best first."""
        return [one for one in self.ranked(ones) if not self._excluded(one)]

    def _better(self, one: Configuration, other: Configuration) -> bool:
        """Whether it is told to be better, by the rounds that both have."""
        found = gain(*(costs(self.found.known[each], self.wanted) for each in (one, other)))
        return found is not None and found.better

    def _final_round(self, ones: Sequence[Configuration], turn: int, batches: Iterable[int]) -> None:
        self.trials.say(f"final, round {turn + 1}: {len(ones)} configurations in turn")
        self.round(ones, turn, batches)

    def round(self, ones: Sequence[Configuration], turn: int, batches: Iterable[int]) -> None:
        """Measure each of them once, at each of these numbers of rows."""
        for one in _in_turn(ones, turn):
            for rows in batches:
                self._time(one, rows, self.wanted.new, turn, self.found.known[one].final)

    def _meant(self, one: Configuration) -> bool:
        return self.only is None or one.cell in self.only or one == self.model.default

    def is_right(self, one: Configuration) -> bool:
        """Whether it was found right, which is asked if it was not yet."""
        known = self.found.known.get(one)
        if known is None:
            return self._judged(one)
        return known.finding.state is State.RIGHT

    def _judged(self, one: Configuration, until: float = 0.0) -> bool:
        if one not in self.found.known:
            # What compiled one model compiles another: to judge it, and for the shapes that are timed, which are those
            # that it is judged in where `generate` compiles.
            left = self.trials.left()
            taken = (1 if one.by_generate else 2) * self._compiling if one.compiles else 0.0
            if left - taken < until and one != self.model.default:
                self.found.known[one] = Known(Finding(State.NOT_REACHED, "the time was spent before it was tried"))
            else:
                finding = self.trials.judge(one)
                if one.compiles:
                    self._compiling = max(self._compiling, left - self.trials.left())
                self.trials.say(f"{one.name}: {finding.state}{f', {finding.why}' if finding.why else ''}")
                self.found.known[one] = Known(finding)
        return self.found.known[one].finding.state is State.RIGHT

    def _sample(self, one: Configuration) -> None:
        known = self.found.known[one]
        for rows in self._rows:
            if rows not in known.failed:
                # What compiles does so for the length of its cache: a shorter call would be compiled for, too.
                new = self.wanted.new if one.compiles else min(self.wanted.new, SHORT)
                self._time(one, rows, new, self._turn, known.before)
                if rows not in known.failed:
                    return

    def _time(self, one: Configuration, rows: int, new: int, turn: int, kept: dict[int, dict[int, Sample]]) -> None:
        known = self.found.known[one]
        if rows in known.failed:
            return
        sample = self.trials.time(one, rows, new, turn)
        if isinstance(sample, Failed):
            known.failed[rows] = sample
            if sample.state is State.WRONG:  # compiled anew for these rows
                known.finding = replace(known.finding, state=State.WRONG, why=f"with {rows} rows: {sample.why}")
            self.trials.say(f"{one.name}, {rows} rows: {sample.state}, {sample.why}")
        else:
            kept.setdefault(rows, {})[turn] = sample

    def _half(self, ranked: Sequence[Configuration], width: int) -> list[Configuration]:
        """The better half, and whoever is as good as its last."""
        count = max(width, _HALF_AT_LEAST, (len(ranked) + 1) // 2)
        kept = list(ranked[:count])
        last = cost(self.found.known[kept[-1]], self.wanted)
        alike = [one for one in ranked[count:] if cost(self.found.known[one], self.wanted) <= _ALIKE * last]
        # At least one has to go, or there would be no end.
        return kept + alike[: max(0, len(ranked) - 1 - count)]

    def _decided(self, finalists: Sequence[Configuration]) -> bool:
        """Whether the best of them is told from all others."""
        ranked = self._may(finalists)
        return all(self._better(ranked[0], other) for other in ranked[1:])


def _in_turn(ones: Sequence[Configuration], turn: int) -> Iterator[Configuration]:
    """There and back: who comes first in one round comes last in the next."""
    return iter(ones if turn % 2 == 0 else ones[::-1])
