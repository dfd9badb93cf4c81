"""What somebody is advised to run, as a document: the answer, its evidence, and why not the others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from matrix.advice.call import Paste, pasted
from matrix.advice.choice import Choice, choose, front, why_not
from matrix.advice.noise import Gain, middle
from matrix.advice.search import Found, Known, Sample, State, cost, costs, excluded, spelled_bytes
from matrix.advice.space import Configuration, Model, eager_of
from matrix.advice.wanted import Prefer, Wanted
from matrix.errors import UsageError
from matrix.files import read_file
from matrix.stack import Stack
from reports.differences import Aspect, Difference, Kind
from reports.part import Part
from reports.reading import first_problem

SCHEMA_VERSION = "1.1"
_SHOWN = 12  # of configurations that one thing keeps away


class Times(Part):
    """How many times as much another costs, with its 95 % interval."""

    ratio: float
    low: float | None = Field(description="None where it was measured once")
    high: float | None
    rounds: int

    @property
    def interval(self) -> str:
        """What follows a sentence that names the ratio: its interval, or that there is none."""
        if self.low is None or self.high is None:
            return ", measured once"
        return f" ({self.low:.2f} to {self.high:.2f}){'' if self.told else ', which may be noise'}"

    @property
    def told(self) -> bool:
        """Whether it is more than noise."""
        return self.low is not None and self.high is not None and (self.low > 1.01 or self.high < 1 / 1.01)


class Figures(Part):
    """What a configuration does with so many rows at a time: trimmed means over rounds."""

    rows: int = Field(ge=1)
    first: float = Field(ge=0, description="seconds to the first token; of an encoder to the output")
    by_token: float = Field(description="seconds for each token after it")
    whole: float = Field(gt=0, allow_inf_nan=False, description="seconds for all that was wanted")
    per_second: float = Field(description="new tokens, or sequences, a second")
    peak: int = Field(ge=0, le=2**60, description="bytes")
    rounds: int
    final: bool = Field(description="whether they were measured in turns with the others")


class Entry(Part):
    """A configuration that was tried."""

    name: str
    cell: str
    by_generate: bool = Field(description="whether generate is left to compile it by itself")
    state: State
    why_not: str = Field(description="why it is not what is advised; empty for that which is")
    loss: float | None = Field(description="nats a position that quantisation costs")
    ratio: float | None = Field(description="the worst error to its bound")
    load_seconds: float | None
    warm_up_seconds: float | None = Field(description="before the first call that counts, compilation among it")
    weight_bytes: int | None
    figures: list[Figures]
    front: bool = Field(description="whether nothing is better in time, memory and loss at once")


class Absent(Part):
    """Configurations that one thing keeps from being tried."""

    why: str
    names: list[str]


class Advised(Part):
    """The answer."""

    name: str
    call: str = Field(description="a script")
    over_default: Times | None
    over_eager: Times | None
    alike: list[str] = Field(description="not told from the best by the noise")


class Asked(Part):
    """What was asked for."""

    prompt: int = Field(ge=1, le=2**20)
    new: int = Field(ge=0, le=2**20)
    batches: list[Annotated[int, Field(ge=1, le=4096)]] = Field(min_length=1)
    memory: int | None = Field(ge=1)
    loss: float = Field(ge=0)
    prefer: Prefer

    @property
    def wanted(self) -> Wanted:
        """The same, as it is asked for."""
        return Wanted(self.prompt, self.new, tuple(self.batches), self.memory, self.loss, self.prefer)


class Subject(Part):
    """The model."""

    # A folder of what is measured is called so: it must not lead anywhere else.
    name: str = Field(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$", description="of its folder")
    path: str
    model_type: str
    auto_class: str
    parameters: int
    real: bool = Field(description="whether its weights are; else they are generated for its shapes")
    default: str = Field(description="what the library does by itself")
    disk_bytes: int | None = Field(description="of its weights as they are saved")


class Held(Part):
    """What was advised beside the best of everything that may be, all measured in turns with one and the same."""

    prefer: Prefer
    advised: str
    ratio: float = Field(description="how many times as much it costs as the best")
    best: str
    measured: int = Field(ge=1, description="configurations that may be advised, this one among them")

    @property
    def words(self) -> str:
        """A sentence."""
        others = f"the best of all {self.measured} that are right"
        if self.best == self.advised:
            return f"{self.prefer.value}: {self.advised} was advised, and is {others}"
        return (
            f"{self.prefer.value}: {self.advised} was advised, and costs {self.ratio:.3f} times {others}, {self.best}"
        )


_OF_THE_SAME = ("model", "hardware", "versions")


class Advice(Part):
    """What to run, with the evidence."""

    kind: Literal["advice"] = "advice"
    schema_version: str = SCHEMA_VERSION
    model: Subject
    hardware: str
    versions: dict[str, str]
    asked: Asked
    notes: list[str]
    advised: Advised | None
    entries: list[Entry] = Field(description="the best first")
    absent: list[Absent]
    seconds: float
    held: list[Held] = Field(default=[], description="where everything was measured: advices of this model beside it")

    def held_by(self, everything: "Advice") -> Held | None:
        """What became of it where everything was measured of the same model, on the same machine and releases."""
        asked, advised = everything.asked.wanted, self.advised
        same = all(getattr(self, part) == getattr(everything, part) for part in _OF_THE_SAME)
        if self.held or advised is None or not same:
            return None
        mine = (one for one in everything.held if replace(asked, prefer=one.prefer) == self.asked.wanted)
        return next((one for one in mine if one.advised == advised.name), None)


def advice_of(
    found: Found,
    model: Model,
    wanted: Wanted,
    stack: Stack,
    subject: Subject,
    paste: Paste,
    notes: Sequence[str],
    seconds: float,
) -> Advice:
    """The document of what was found."""
    choice = choose(found, model, wanted)
    known = found.known
    ranked = sorted(
        known, key=lambda one: (choice is None or one != choice.advised, cost(known[one], wanted), one.name)
    )
    best = _front(found, model, wanted)
    absent: dict[str, list[str]] = {}
    for untried in found.untried:
        absent.setdefault(f"{untried.absence}: {untried.why}", []).append(untried.configuration.name)
    return Advice(
        model=subject,
        hardware=stack.hardware,
        versions=dict(stack.versions),
        asked=Asked(**{**vars(wanted), "batches": list(wanted.batches)}),
        notes=[*notes, *_noted(found, choice, model, wanted)],
        advised=None if choice is None else _advised(choice, known[choice.advised], model, paste),
        entries=[
            _entry(one, known[one], why_not(one, found, choice, model, wanted), wanted, one in best) for one in ranked
        ],
        absent=[Absent(why=why, names=names) for why, names in absent.items()],
        seconds=round(seconds, 1),
    )


def _advised(choice: Choice, known: Known, model: Model, paste: Paste) -> Advised:
    return Advised(
        name=choice.advised.name,
        call=pasted(choice.advised, model, known.finding.spelled, paste),
        over_default=_times(choice.over_default),
        over_eager=_times(choice.over_eager),
        alike=[one.name for one in choice.alike],
    )


def _times(gain: Gain | None) -> Times | None:
    if gain is None:
        return None
    low, high = (gain.low, gain.high) if gain.told else (None, None)
    return Times(ratio=gain.ratio, low=low, high=high, rounds=gain.rounds)


def _entry(one: Configuration, known: Known, why: str, wanted: Wanted, best: bool) -> Entry:
    finding = known.finding
    samples = [s for kept in (known.before, known.final) for by_turn in kept.values() for s in by_turn.values()]
    return Entry(
        name=one.name,
        cell=one.cell.id,
        by_generate=one.by_generate,
        state=finding.state,
        why_not=why,
        loss=finding.loss,
        ratio=finding.ratio,
        load_seconds=finding.load_seconds,
        warm_up_seconds=max((sample.warm_up for sample in samples), default=None),
        weight_bytes=finding.weight_bytes,
        figures=[_figures(rows, known, wanted) for rows in wanted.batches if known.samples(rows)],
        front=best,
    )


def _figures(rows: int, known: Known, wanted: Wanted) -> Figures:
    samples: list[Sample] = list(known.samples(rows).values())
    whole = middle(sample.seconds(wanted.new) for sample in samples)
    return Figures(
        rows=rows,
        first=middle(sample.first for sample in samples),
        by_token=middle(sample.by_token for sample in samples),
        whole=whole,
        per_second=rows * (wanted.new or 1) / whole,
        peak=max(sample.peak for sample in samples),
        rounds=len(samples),
        final=rows in known.final,
    )


def _front(found: Found, model: Model, wanted: Wanted) -> frozenset[Configuration]:
    """Of those that may be advised: time with the fewest rows, for each row with the most, peak and loss."""
    points = {}
    for one, known in found.known.items():
        rows = [count for count in wanted.batches if known.samples(count)]
        if excluded(one, known, model, wanted) or not rows:
            continue
        least, most = (_figures(count, known, wanted) for count in (rows[0], rows[-1]))
        points[one] = (least.whole, most.whole / most.rows, float(least.peak), known.finding.loss or 0.0)
    return front(points)


def _noted(found: Found, choice: Choice | None, model: Model, wanted: Wanted) -> Iterator[str]:
    if choice is None:
        yield "nothing that was measured may be advised: the list says why of each"
        return
    for rows in wanted.batches:
        if failed := found.known[choice.advised].failed.get(rows):
            does = "was not timed" if failed.state is State.TIMEOUT else "does not run"
            yield f"what is advised {does} with {rows} rows: {failed.state}, {failed.why}"
    default = found.known.get(model.default)
    if default is not None and default.finding.state is not State.RIGHT:
        yield f"the library's default is not right: {default.finding.state}, {default.finding.why}"
    elif model.default != choice.advised and default is not None and not costs(default, wanted):
        yield "the library's default could not be timed"
    eager = found.known.get(eager_of(choice.advised, model.architecture))
    if eager is not None and eager.finding.state is not State.RIGHT:
        yield f"eager attention is not right: {eager.finding.state}, {eager.finding.why}"
    unknown = [
        one
        for one, known in found.known.items()
        if one.cell.quantisation.stored_as and known.finding.state is State.RIGHT and known.finding.loss is None
    ]
    if unknown and not model.reads:
        yield "the weights are generated: of what quantisation costs in quality nothing can be said, so none is advised"


def read_advice(path: Path) -> Advice:
    """The document in a file.

    Raises:
        UsageError: it is none.
    """
    content = read_file(path)
    try:
        advice = Advice.model_validate_json(content)
    except ValueError as error:
        raise UsageError(f"{path}: is no advice: {first_problem(error)}") from None
    if advice.schema_version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise UsageError(f"{path}: advice of schema {advice.schema_version} is read by another version of this suite")
    return advice


def advice_lines(advice: Advice) -> Iterator[str]:
    """The answer first, then what it rests on."""
    if advice.advised is None:
        yield f"{advice.model.name} on {advice.hardware}: nothing can be advised"
    else:
        yield f"{advice.model.name} on {advice.hardware}: run {advice.advised.name}"
        yield ""
        yield from advice.advised.call.rstrip().splitlines()
        yield ""
        yield from gains(advice)
    for note in advice.notes:
        yield f"note: {note}"
    yield ""
    yield from table(advice)
    for one in advice.absent:
        names = one.names if len(one.names) <= _SHOWN else [*one.names[:_SHOWN], f"and {len(one.names) - _SHOWN} more"]
        yield f"{one.why}: {', '.join(names)}"


def gains(advice: Advice) -> Iterator[str]:
    """What the answer gains, in sentences."""
    assert advice.advised is not None
    by_itself = advice.model.default
    if advice.advised.over_default is not None:
        yield _gained(advice.advised.over_default, f"what the library does by itself ({by_itself})", advice)
    elif advice.advised.name == by_itself:
        yield f"this is what the library does by itself ({by_itself})"
    if advice.advised.over_eager is not None:
        yield _gained(advice.advised.over_eager, "eager attention in the same dtype", advice)
    if advice.advised.alike:
        yield f"within the noise of the best: {', '.join(advice.advised.alike)}"


def avoided(advice: Advice) -> list[Entry]:
    """What gives wrong numbers, or runs something else than it is called: nobody is to take it for the best."""
    return [entry for entry in advice.entries if entry.state in (State.WRONG, State.SUBSTITUTED)]


def _gained(times: Times, what: str, advice: Advice) -> str:
    if advice.asked.prefer is Prefer.MEMORY:
        return f"{what} takes {times.ratio:.2f} times as much memory{times.interval}"
    return f"{times.ratio:.2f} times as fast as {what}{times.interval}"


def table(advice: Advice) -> Iterator[str]:
    """One line for each configuration."""
    for entry in advice.entries:
        mark = "*" if entry.front else " "
        said = [*figures_words(entry, advice), *([entry.why_not] if entry.why_not else [])]
        yield f"{mark} {entry.name}: {'; '.join(said)}"


def figures_words(entry: Entry, advice: Advice) -> Iterator[str]:
    """What was measured, rows by rows."""
    unit = "tokens" if advice.asked.new else "sequences"
    for one in entry.figures:
        first = (
            f"{1000 * one.first:.0f} ms to the first, {1000 * one.by_token:.1f} ms a token, "
            if advice.asked.new
            else ""
        )
        each = "" if advice.asked.new else f"{1000 * one.whole:.1f} ms, "
        yield f"{one.rows} x {first}{each}{one.per_second:,.1f} {unit}/s, {spelled_bytes(one.peak)}"
    if entry.loss is not None:
        yield f"costs {entry.loss:.2g} nats"


def holds(before: Advice, now: Advice) -> tuple[bool, str]:
    """Whether what was advised still is, and a sentence."""
    if before.advised is None:
        return now.advised is None, "nothing was advised"
    name = before.advised.name
    entry = next((one for one in now.entries if one.name == name), None)
    if entry is None:
        return False, f"{name} was advised, and is not tried any more"
    if now.advised is None:
        return False, f"{name} was advised: {entry.why_not or entry.state}"
    if now.advised.name == name:
        return True, f"{name} is what is advised still"
    if name in now.advised.alike:
        return True, f"{name} is within the noise of the best still"
    return False, f"{name} was advised, and now {now.advised.name} is; {entry.why_not}"


def fell(before: Advice, now: Advice, beside: Advice | None = None) -> Difference | None:
    """What a gate counts of an advice that does not hold in another environment; None where it does.

    It is worse where what was advised is not right there any more, else another: something has become better than it.
    Where it does not hold in the environment of before either (`beside`, as it is now), the other one is not to blame.
    """
    kept, sentence = holds(before, now)
    if kept or before.advised is None or (beside is not None and not holds(before, beside)[0]):
        return None
    name = before.advised.name
    right = any(entry.name == name and entry.state is State.RIGHT for entry in now.entries)
    kind, what = (Kind.CHANGE, "is not the best any more") if right else (Kind.REGRESSION, "is not right any more")
    cause = f"{before.model.name}: what was advised {what}"
    return Difference(kind, Aspect.ADVICE, f"advice:{before.model.name}", (sentence,), (cause,), "")


def differing(before: Advice, now: Advice) -> Mapping[str, tuple[str, str]]:
    """What is another version or device than when the advice was given: name -> before, now."""
    names = dict.fromkeys((*before.versions, *now.versions))
    found = {name: (before.versions.get(name, "none"), now.versions.get(name, "none")) for name in names}
    found["device"] = (before.hardware, now.hardware)
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}
