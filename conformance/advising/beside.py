"""Hold an advice against what somebody else would do: `python -m conformance.advising.beside ADVICE.json`.

The advised call goes in turns with the same call in a hand-written loop, which knows nothing of this suite: the figures
of both are to agree. With `--all` every configuration of the advices that is right is measured in turns instead, once
where it is far behind in all that they are for: how far is what they advise from the best?
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from conformance.advising.command import Advising, Asked, Say, configurations, room_of
from conformance.advising.streams import side_by_side
from matrix.advice.noise import MOST_REPEATS, SHORT, Gain, gain
from matrix.advice.search import Failed, Found, Known, Sample, State, Trials, costs, excluded, search_all
from matrix.advice.space import Configuration, Model
from matrix.advice.wanted import Prefer, Wanted
from matrix.command_line import run, say
from matrix.errors import UsageError, enumerated
from matrix.stack import detect_stack
from reports.advice import Advice, Held, read_advice

ROUNDS = 8
_MEASURABLE = (State.RIGHT, State.NOT_REACHED, State.NOT_JUDGED, State.TIMEOUT)
_MINUTES = 1440.0  # nothing is left out for want of time
_WARM_UP = 2  # calls

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Agreement:
    """How many times as long the hand-written loop takes, by what is measured."""

    rows: int
    what: str
    seconds: float  # of the suite's, the mean
    found: Gain

    @property
    def holds(self) -> bool:
        """Whether nothing but noise is between them."""
        return not self.found.better and not self.found.worse


def by_hand(asked: Asked, before: Advice, rounds: int) -> list[Agreement]:
    """The advised call by the suite and by hand, in turns.

    Raises:
        UsageError: nothing is advised, there are no weights to load by hand, or one of the two fails.
    """
    if before.advised is None or not before.model.real:
        raise UsageError(f"{before.model.name}: nothing is advised of weights that somebody could load by hand")
    if "inputs = ..." in before.advised.call:
        raise UsageError(f"{before.model.name}: what goes in is made by a processor, which no loop here knows")
    agreements: list[Agreement] = []
    script = loop(before.advised.call, before.asked.prompt, before.asked.new)

    def hunt(model: Model, wanted: Wanted, trials: Trials) -> Found:
        one = configurations(before.entries[:1], model)[0]
        known = Known(trials.judge(one))
        with _looping(script) as ask:
            for rows in wanted.batches:
                known.final[rows] = ours = {}
                theirs: dict[int, Mapping[str, float]] = {}
                for turn in range(rounds):
                    ours[turn], theirs[turn] = _both(one, rows, turn, wanted, trials, ask)
                agreements.extend(_agreements(rows, ours, theirs))
        return Found({one: known})

    Advising(asked, say).run(hunt, f"{before.advised.name} by hand")
    return agreements


def _both(
    one: Configuration, rows: int, turn: int, wanted: Wanted, trials: Trials, ask: Callable[[int], Mapping[str, float]]
) -> tuple[Sample, Mapping[str, float]]:
    """One call of either; who comes first in one turn comes last in the next."""
    theirs = ask(rows) if turn % 2 else {}
    ours = trials.time(one, rows, wanted.new, turn)
    theirs = theirs or ask(rows)
    if isinstance(ours, Failed):
        raise UsageError(f"what was advised cannot be timed: {ours.state}, {ours.why}")
    trials.say(f"{rows} rows, round {turn + 1}: {ours.whole:.4f} s, {theirs['whole']:.4f} s by hand")
    return ours, theirs


def loop(call: str, prompt: int, new: int) -> str:
    """A script that runs the pasted call with so many tokens, as often as it is asked to, and prints how long it took.

    The last lines of the call are run as they stand; before them its inputs are made as long as was asked for.
    """
    head, _, tail = call.partition("with torch.no_grad()")
    asked = {"prompt": prompt, "new": new, "warm_up": _WARM_UP, "short": SHORT, "most": MOST_REPEATS}
    return _LOOP.format(head=head, tail=f"with torch.no_grad(){tail}", **asked)


_LOOP = """\
import json, math, statistics, sys, time
{head}
def synchronise():
    if torch.cuda.is_available():
        torch.cuda.synchronize()

def timed(source):
    synchronise()
    began = time.perf_counter()
    exec(source, globals())
    synchronise()
    return time.perf_counter() - began

def settled(source):
    once = timed(source)
    times = min({most}, math.ceil({short} / once)) if once < {short} else 0
    return statistics.median([timed(source) for _ in range(times)] or [once])

call = compile({tail!r}, "call", "exec")
one = compile({tail!r}.replace("max_new_tokens={new}", "max_new_tokens=1"), "one", "exec")
if {new}:
    model.generation_config.do_sample = False
    model.generation_config.eos_token_id = None  # else it may stop early
    model.generation_config.pad_token_id = model.generation_config.pad_token_id or 0
warm = set()
for line in sys.stdin:
    rows = int(line)
    inputs = {{"input_ids": torch.randint(4, model.config.get_text_config().vocab_size, (rows, {prompt}))}}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs = {{name: tensor.to(model.device) for name, tensor in inputs.items()}}
    for _ in range(0 if rows in warm else {warm_up}):
        timed(call)
    warm.add(rows)
    found = {{"whole": settled(call), "first": settled(one) if {new} else 0.0}}
    print(json.dumps(found), flush=True)
"""


@contextmanager
def _looping(script: str) -> Iterator[Callable[[int], dict[str, float]]]:
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        asking, hearing = process.stdin, process.stdout

        def ask(rows: int) -> dict[str, float]:
            try:
                asking.write(f"{rows}\n")
                asking.flush()
                answer = hearing.readline()
                found: dict[str, float] = json.loads(answer)
            except (OSError, ValueError):
                said.seek(0)
                lines = said.read().strip().splitlines() or ["nothing was said"]
                raise UsageError(f"the hand-written loop ended: {lines[-1]}") from None
            return found

        try:
            yield ask
        finally:
            process.kill()
            process.wait()


def _agreements(
    rows: int, ours: Mapping[int, Sample], theirs: Mapping[int, Mapping[str, float]]
) -> Iterator[Agreement]:
    pairs = {"the whole": ("whole", {turn: one.whole for turn, one in ours.items()})}
    if next(iter(ours.values())).new:
        pairs["the first token"] = ("first", {turn: one.first for turn, one in ours.items()})
    for what, (name, seconds) in pairs.items():
        found = gain(seconds, {turn: one[name] for turn, one in theirs.items()})
        assert found is not None
        yield Agreement(rows, what, sum(seconds.values()) / len(seconds), found)


def all_of(asked: Asked, before: Sequence[Advice], rounds: int, say: Say = say) -> Advice:
    """Every configuration of the advices that may be right, judged anew and measured in turns with the first advised.

    Args:
        before: of one model with the same prompts, whatever was preferred.

    Raises:
        UsageError: nothing is advised, the advices are of different things, or what is advised could not be measured;
            see `conformance.advising.command.advise` too.
    """
    advised = [one.advised.name for one in before if one.advised is not None]
    if len(advised) < len(before):
        raise UsageError(f"{before[0].model.name}: nothing is advised")
    if len({(one.model.path, replace(one.asked.wanted, prefer=Prefer.LATENCY)) for one in before}) > 1:
        raise UsageError(f"{before[0].model.name}: advice of other models, prompts or batches is measured by itself")
    advising = Advising(asked, say)
    entries = {entry.name: entry for one in before for entry in one.entries if entry.state in _MEASURABLE}
    ordered = sorted(entries.values(), key=lambda entry: entry.name not in advised)

    def hunt(model: Model, wanted: Wanted, trials: Trials) -> Found:
        ones = configurations(ordered, model)
        known = {one.name: one for one in ones}
        if lost := [name for name in advised if name not in known]:
            raise UsageError(f"{before[0].model.name}: {enumerated(lost)} was advised, and cannot be measured here")
        pairs = [
            (replace(wanted, prefer=one.asked.prefer), known[name]) for one, name in zip(before, advised, strict=True)
        ]
        found = search_all(model, trials, ones, rounds, pairs)
        advising.held += [held(one.name, each, found, model) for each, one in pairs]
        return found

    # A round is known by the place of its configuration among all of them.
    return advising.run(hunt, f"all of {', '.join(entry.name for entry in ordered)}, in {rounds} rounds")


def held(advised: str, wanted: Wanted, found: Found, model: Model) -> Held:
    """How far it is from the best that may be advised, by the rounds that each had with the first of all.

    Raises:
        UsageError: it was not measured.
    """
    may = {one: known for one, known in found.known.items() if not excluded(one, known, model, wanted)}
    first = next(iter(may.values()), None)
    # How many times as much as the first of all each costs.
    times = {
        one.name: beside.ratio
        for one, known in may.items()
        if first is not None and (beside := gain(costs(first, wanted), costs(known, wanted))) is not None
    }
    if advised not in times:
        raise UsageError(f"{advised}: was advised, and is not among what was measured")
    best = min(times, key=lambda name: times[name])
    ratio = times[advised] / times[best]
    return Held(prefer=wanted.prefer, advised=advised, ratio=ratio, best=best, measured=len(times))


@app.command()
def main(
    files: Annotated[list[Path], typer.Argument(help="advice.json, with --all as many as were asked for")],
    everything: Annotated[bool, typer.Option("--all", help="measure every configuration that is right")] = False,
    rounds: Annotated[int, typer.Option(min=2, help="turns")] = ROUNDS,
    at_once: Annotated[int, typer.Option(min=1, help="models that are measured side by side, each timed alone")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="for what is measured")] = None,
) -> None:
    """Hold an advice against a hand-written loop, or advices against all that was tried."""
    before, began = [read_advice(file) for file in files], time.monotonic()
    if everything:
        groups = _of_one_model(before)
        measure = partial(_measure_all, rounds=rounds, output=output, at_once=min(at_once, len(groups)))
        if len(groups) == 1:
            measure(before, None, say)
        elif failed := side_by_side(groups, measure, room_of(detect_stack()), at_once, output):
            raise UsageError(f"not measured to the end, for the reasons above: {enumerated(failed)}")
    elif len(before) > 1:
        raise UsageError("a hand-written loop is held against one advice: name one file, or add --all")
    else:
        asked = Asked(Path(before[0].model.path), before[0].asked.wanted, _MINUTES, output)
        for line in agreement_lines(by_hand(asked, before[0], rounds)):
            say(line)
    say(f"{time.monotonic() - began:.0f} s")


def _of_one_model(advices: Iterable[Advice]) -> list[list[Advice]]:
    groups: dict[str, list[Advice]] = {}
    for one in advices:
        groups.setdefault(one.model.path, []).append(one)
    return list(groups.values())


def _measure_all(
    before: Sequence[Advice], room: int | None, said: Say, *, rounds: int, output: Path | None, at_once: int
) -> None:
    """All of one model, which has so much room where there are others."""
    folder = output if output is None or room is None else output / before[0].model.name
    asked = Asked(Path(before[0].model.path), before[0].asked.wanted, _MINUTES, folder, room=room, beside=at_once)
    for one in all_of(asked, before, rounds, said).held:
        said(one.words)


def agreement_lines(agreements: Sequence[Agreement]) -> Iterator[str]:
    """A line for each figure, and a last one that says whether all agree."""
    for one in agreements:
        said = "alike" if one.holds else "NOT alike"
        yield f"{one.rows} rows, {one.what}: {one.seconds:.4f} s; by hand {one.found.words}: {said}"
    yield "the figures agree" if all(one.holds for one in agreements) else "the figures do not agree"


if __name__ == "__main__":
    run(app)
