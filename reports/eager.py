"""What eager attention computed in two runs, held against each other: on the same bytes it should be the same."""

import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from matrix.eager_moves import Move, Word, load_moves
from matrix.rows import Family, RowOutcome
from reports.differences import Aspect, Difference, Kind
from reports.document import EagerTrace, Report, RowRecord
from reports.drift import beyond
from reports.lines import one_line
from reports.text import row_command
from reports.words import words_of

RULED_OUT = 1e30  # a head gives a class that it rules out the lowest number there is: that is no logit
EQUAL_WITHIN = 1e-4  # standard deviations of the logits: sums of float32 in another order stay well below
# Loading on a machine that others use: what differs by less is noise.
_SECONDS_FACTOR, _SECONDS_STEP = 3.0, 5.0
_MEMORY_FACTOR, _MEMORY_STEP = 1.5, 64.0  # MiB
_NAMED = 4  # of the names of a list
_FURTHER = 2.0  # times as far as a known move was seen to go: what goes further has another cause beside
_MORE = re.compile(r"\.\.\. and ([\d,]+) more")  # the last of a list that was cut
_LOAD, _FORWARD = "load", "forward"


class Finding(StrEnum):
    """What became of an architecture, the gravest first."""

    NOT_LOADED = "does not run any more"
    WEIGHTS_LOST = "weights lost"
    MOVED = "computes something else"
    REWORDED = "fails in another way"
    TOKENS = "generates something else"
    DEFAULTS = "other generation defaults"
    SAVED = "saves under other names"
    LOADING = "loads at another cost"
    OTHER_BYTES = "not the same bytes"
    OTHER_INPUTS = "not the same inputs"
    NOT_COMPUTED = "not computed in either"
    UNKNOWN = "planned, and never came"
    FOUND_AGAIN = "weights found again"
    LOADED = "runs now"
    NEW = "new"
    GONE = "gone"
    EQUAL = "equal"


# What each is to whoever upgrades. What only one side ran is said as of any row; what fails in both is no difference.
_WEIGHS: Mapping[Finding, tuple[Kind, Aspect]] = {
    Finding.NOT_LOADED: (Kind.REGRESSION, Aspect.VERDICT),
    Finding.WEIGHTS_LOST: (Kind.REGRESSION, Aspect.VERDICT),
    Finding.MOVED: (Kind.CHANGE, Aspect.EAGER),
    Finding.TOKENS: (Kind.CHANGE, Aspect.EAGER),
    Finding.DEFAULTS: (Kind.CHANGE, Aspect.EAGER),
    Finding.SAVED: (Kind.CHANGE, Aspect.EAGER),
    Finding.LOADING: (Kind.CHANGE, Aspect.EAGER),
    Finding.REWORDED: (Kind.CHANGE, Aspect.MESSAGE),
    Finding.OTHER_BYTES: (Kind.CHANGE, Aspect.EAGER),
    Finding.OTHER_INPUTS: (Kind.CHANGE, Aspect.EAGER),
    Finding.FOUND_AGAIN: (Kind.IMPROVEMENT, Aspect.VERDICT),
    Finding.LOADED: (Kind.IMPROVEMENT, Aspect.VERDICT),
}
_KNOWN: Mapping[Word, tuple[Kind, Aspect]] = {
    Word.REGRESSION: (Kind.REGRESSION, Aspect.KNOWN),
    Word.REPAIR: (Kind.IMPROVEMENT, Aspect.EAGER),
}
# Of these the words differ from architecture to architecture, and the cause may be one.
_OF_ITS_OWN_KIND = (
    Finding.WEIGHTS_LOST,
    Finding.TOKENS,
    Finding.REWORDED,
    Finding.LOADING,
    Finding.OTHER_BYTES,
    Finding.OTHER_INPUTS,
)


@dataclass(frozen=True)
class Found:
    """One thing that differs between two traces, in words with both values."""

    finding: Finding
    words: str
    about: tuple[str, ...] = ()  # the step that failed, or all the parameters, where they are known


@dataclass(frozen=True)
class Compared:
    """What differs of one architecture between two runs."""

    name: str
    found: tuple[Found, ...]  # the gravest first; empty where all is equal
    moved: float | None = None  # standard deviations at the worst number; None where it cannot be told
    moves: tuple[Move, ...] = ()  # that are known of it between the releases of both

    @property
    def finding(self) -> Finding:
        """The gravest."""
        return self.found[0].finding if self.found else Finding.EQUAL

    def known(self, found: Found) -> Move | None:
        """The move that did this, where one is known to; of several one that broke something."""
        if found.finding is Finding.MOVED:
            did = [move for move in self.moves if self.name in move.moved]
            if self.moved is None or self.moved > _FURTHER * sum(move.moved[self.name] for move in did):
                return None
        else:
            does = _DOES.get(found.finding)
            did = [move for move in self.moves if does is not None and found.about and does(move, {*found.about})]
        return min(did, key=lambda move: move.word is not Word.REGRESSION, default=None)


# Beside moving numbers, a known move does no more than what it is known to do.
_DOES: Mapping[Finding, Callable[[Move, set[str]], bool]] = {
    Finding.NOT_LOADED: lambda move, steps: move.word is Word.REGRESSION and steps <= {*move.fails},
    Finding.WEIGHTS_LOST: lambda move, names: move.word is Word.REGRESSION and names <= {*move.weights},
    Finding.FOUND_AGAIN: lambda move, names: move.word is Word.REPAIR and names <= {*move.weights},
}


@dataclass(frozen=True)
class _Names:
    """Names of a trace; of a list that was cut no more is known than how many there were, and a digest of them."""

    listed: frozenset[str]
    count: int
    digests: tuple[str, ...]

    @property
    def cut(self) -> bool:
        return self.count > len(self.listed)

    def beyond(self, other: "_Names") -> tuple[str, ...]:
        """What is in these and not in the others; nothing where either was cut."""
        return () if self.cut or other.cut else tuple(sorted(self.listed - other.listed))

    def words(self, other: "_Names") -> str:
        """The same in words, empty where there is nothing; of what was cut how many there were and are."""
        if not (self.cut or other.cut):
            return _listed(self.beyond(other))
        digests = zip(self.digests, other.digests, strict=True)
        same = self.listed == other.listed and not any(one and two and one != two for one, two in digests)
        if self.count < other.count or (self.count == other.count and same):
            return ""
        return f"{self.count:,} names, not the {other.count:,} of the other run"


def compare_traces(before: EagerTrace, after: EagerTrace) -> tuple[float | None, tuple[Found, ...]]:
    """By how many standard deviations the logits moved, and what differs, the gravest first.

    Of other bytes or other inputs no number is compared: they compute something else by right. What fails, and what
    weights are lost, is told all the same: each release was given bytes that it should load.
    """
    same_bytes = before.files == after.files
    # Who could not come so far knows nothing of the inputs.
    same_inputs = before.inputs == after.inputs or not (before.inputs and after.inputs)
    moved = _deviations(before, after) if same_bytes and before.inputs == after.inputs else None
    found = [*_failures(before, after), *_weights(before, after)]
    if not same_bytes:
        found.append(_other_bytes(before, after))
    elif not same_inputs:
        found.append(Found(Finding.OTHER_INPUTS, f"{before.inputs} and {after.inputs}"))
    elif not before.numbers and not after.numbers:
        found.append(Found(Finding.NOT_COMPUTED, next(_told(after.failures), "no number came of it")))
    if moved is not None and not moved <= EQUAL_WITHIN:  # nor where it is no number any more
        found.append(Found(Finding.MOVED, _moved_words(before, after, moved)))
    elif moved is not None and before.tokens and after.tokens and before.tokens != after.tokens:
        found.append(Found(Finding.TOKENS, f"greedy: {_row_that_differs(before.tokens, after.tokens)}"))
    if defaults := list(_defaults(before, after)):
        found.append(Found(Finding.DEFAULTS, ", ".join(defaults)))
    if same_bytes and "save" not in {*before.failures, *after.failures}:
        found += _saved(before, after)
    found += _loading(before, after)
    order = list(Finding)
    return moved, tuple(sorted(found, key=lambda one: order.index(one.finding)))


def compare_eager(before: Report, after: Report) -> list[Compared]:
    """What became of every architecture of which either run kept what eager attention computes, in their order."""
    old, new = _traces(before), _traces(after)
    releases = [report.run.stack.versions.get("transformers", "") for report in (before, after)]
    found = []
    for name in dict.fromkeys([*old, *new]):
        was, now = old.get(name), new.get(name)
        if was is None or now is None:
            found.append(
                Compared(name, (_of_one_side(_row(before if was is None else after, name), gone=now is None),))
            )
            continue
        moved, differs = compare_traces(was, now)
        moves = tuple(move for move in load_moves() if move.explains(name, *releases))
        found.append(Compared(name, differs, moved, moves))
    return found


def traced_in_both(before: Report, after: Report) -> set[str]:
    """The keys of the rows of which both runs kept what eager attention computes."""
    return {f"{Family.EAGER}:{name}" for name in _traces(before).keys() & _traces(after).keys()}


def eager_differences(before: Report, after: Report) -> Iterator[Difference]:
    """What became of eager attention where both runs kept what it computes, as differences.

    What moved is a repair or a regression: where nobody has said which, it is a change that must be read.
    """
    command = {row.key: row_command(row) for row in after.rows if row.family is Family.EAGER}
    both = traced_in_both(before, after)
    for one in sorted(compare_eager(before, after), key=_far):
        name = f"{Family.EAGER}:{one.name}"
        for found in one.found if name in both else ():
            if found.finding not in _WEIGHS:
                continue
            kind, aspect = _WEIGHS[found.finding]
            words = cause = f"{found.finding}: {found.words}"
            known = one.known(found)
            if known is not None:
                kind, aspect = _KNOWN[known.word]
                cause = known.cause
            elif found.finding is Finding.MOVED:  # nobody knows that two types moved for one reason
                cause = f"{one.name} {words}"
            elif found.finding in _OF_ITS_OWN_KIND:
                cause = str(found.finding)
            yield Difference(kind, aspect, name, (words, *reading(one, found)), (cause,), command[name])


def reading(one: Compared, found: Found) -> tuple[str, ...]:
    """How it is to be read, in a line; nothing where it did not move and nothing is known of it."""
    known = one.known(found)
    if known is not None:
        return (f"known, a {known.word}: {known.cause} ({known.place})",)
    if found.finding is not Finding.MOVED:
        return ()
    moves = [f"a {move.word}, {_seen(move, one.name)}: {move.cause}" for move in one.moves]
    return (f"further than what is known, {'; '.join(moves)}",) if moves else (_UNREAD,)


_UNREAD = "repair or regression? nobody has read it yet"


def _seen(move: Move, name: str) -> str:
    return f"by {move.moved[name]:.3g}" if name in move.moved else "which was not seen here"


def _far(one: Compared) -> float:
    """Orders what moved furthest first."""
    return -(one.moved if one.moved is not None else 0.0)


def eager_lines(found: Sequence[Compared]) -> Iterator[str]:
    """A table for a terminal: how many of each finding, then what differs, the gravest first."""
    counts = {finding: sum(one.finding is finding for one in found) for finding in Finding}
    yield f"{len(found):,} architectures: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    width = max((len(one.name) for one in found), default=0)
    for finding in Finding:
        of_it = sorted((one for one in found if one.finding is finding and one.found), key=_far)
        if of_it:
            yield ""
            yield f"{finding}: {len(of_it):,}"
        for one in of_it:
            first, *others = one.found
            yield f"  {one.name:{width}}  {one_line(first.words)}"
            yield from (f"  {'':{width}}  {other.finding}: {one_line(other.words)}" for other in others)
            read = dict.fromkeys(line for part in one.found for line in reading(one, part))
            yield from (f"  {'':{width}}  {one_line(line)}" for line in read)


def _traces(report: Report) -> dict[str, EagerTrace]:
    return {row.name: row.eager for row in report.rows if row.family is Family.EAGER and row.eager is not None}


def _row(report: Report, name: str) -> RowRecord | None:
    return next((row for row in report.rows if row.family is Family.EAGER and row.name == name), None)


def _of_one_side(row: RowRecord | None, *, gone: bool) -> Found:
    """What the side says of it that kept nothing."""
    if row is not None and row.outcome is RowOutcome.MISSING:
        return Found(Finding.UNKNOWN, f"{'after' if gone else 'before'}: {row.reason}")
    why = row.reason if row is not None and row.outcome is not RowOutcome.HOLDS and row.reason else "no row"
    return Found(Finding.GONE if gone else Finding.NEW, why)


def _other_bytes(before: EagerTrace, after: EagerTrace) -> Found:
    which = f"{before.fixture} and {after.fixture}" if before.fixture != after.fixture else "of one name, made anew"
    return Found(Finding.OTHER_BYTES, f"{which}; --fixtures-of the other's report loads the same")


def _failures(before: EagerTrace, after: EagerTrace) -> Iterator[Found]:
    old, new = before.failures, after.failures
    if _LOAD in old and new and _LOAD not in new:  # it comes further, and not to the end
        yield Found(Finding.REWORDED, f"{next(_told(old))} -> {next(_told(new))}")
        return
    for step, words in new.items():
        if step in old and words_of(old[step]) != words_of(words):
            yield Found(Finding.REWORDED, f"{step}: {old[step]} -> {words}")
        elif step not in old and _LOAD not in old:
            yield Found(Finding.NOT_LOADED, f"{step}: {words}", (step,))
    for step, words in old.items():
        if step not in new and _LOAD not in new:
            yield Found(Finding.LOADED, f"{step}: was {words}")
    if before.numbers and not after.numbers and not {_LOAD, _FORWARD} & {*new}:
        yield Found(Finding.NOT_LOADED, f"{_FORWARD}: no number comes of it, and nothing was raised")


def _told(failures: Mapping[str, str]) -> Iterator[str]:
    return (f"{step}: {words}" for step, words in failures.items())


def _weights(before: EagerTrace, after: EagerTrace) -> Iterator[Found]:
    if _LOAD in {*before.failures, *after.failures}:
        return
    old, new = (_names(trace, "missing", "mismatched") for trace in (before, after))
    left_before, left = (_names(trace, "unexpected") for trace in (before, after))
    dropped = left.words(left_before)
    if drawn := new.words(old):
        beside = f"; the files hold {dropped}, of which nothing is taken" if dropped else ""
        names = (*new.beyond(old), *left.beyond(left_before)) if new.beyond(old) else ()
        yield Found(Finding.WEIGHTS_LOST, f"drawn anew: {drawn}{beside}", names)
    elif dropped:
        yield Found(Finding.WEIGHTS_LOST, f"in the files, and not taken: {dropped}")
    if again := old.words(new):
        yield Found(Finding.FOUND_AGAIN, f"were drawn anew: {again}", old.beyond(new))


def _names(trace: EagerTrace, *lists: str) -> _Names:
    listed: set[str] = set()
    more = 0
    for name in (name for one in lists for name in getattr(trace, one)):
        if cut := _MORE.fullmatch(name):
            more += int(cut[1].replace(",", ""))
        else:
            listed.add(name)
    return _Names(frozenset(listed), len(listed) + more, tuple(trace.digests.get(one, "") for one in lists))


def _deviations(before: EagerTrace, after: EagerTrace) -> float | None:
    """How far the worst number moved, in standard deviations of the logits; None where one of them has none."""
    if not before.numbers or not after.numbers:
        return None
    if before.shape != after.shape or len(before.numbers) != len(after.numbers):
        return math.inf
    return max(_distances(before, after)) / _spread(before)


def _distances(before: EagerTrace, after: EagerTrace) -> list[float]:
    return [_apart(*pair) for pair in zip(before.numbers, after.numbers, strict=True)]


def _spread(trace: EagerTrace) -> float:
    """Of the logits that are kept where that of all is none: traces of schema 2.2 count what a head rules out."""
    if trace.spread and trace.spread <= RULED_OUT:
        return trace.spread
    kept = [number for number in trace.numbers if abs(number) <= RULED_OUT]
    return (statistics.pstdev(kept) if kept else 0.0) or 1.0


def _apart(one: float, other: float) -> float:
    both_ruled_out = one * other > 0 and min(abs(one), abs(other)) > RULED_OUT
    if one == other or both_ruled_out or (math.isnan(one) and math.isnan(other)):
        return 0.0
    if max(abs(one), abs(other)) > RULED_OUT:
        return math.inf
    apart = abs(one - other)
    return math.inf if math.isnan(apart) else apart


def _moved_words(before: EagerTrace, after: EagerTrace, moved: float) -> str:
    if before.shape != after.shape:
        return f"logits of shape {before.shape} -> {after.shape}"
    if not math.isfinite(moved):
        return "a number is finite in one of them alone"
    spread, apart = _spread(before), _distances(before, after)
    share = sum(far > EQUAL_WITHIN * spread for far in apart) / len(apart)
    return f"moved by {moved:.3g} standard deviations at worst; {share:.0%} of the numbers moved"


def _row_that_differs(before: Iterable[list[int]], after: Iterable[list[int]]) -> str:
    pairs = list(zip(before, after, strict=False))
    old, new = next((pair for pair in pairs if pair[0] != pair[1]), ("another number of rows", ""))
    return f"{old} -> {new}"


def _defaults(before: EagerTrace, after: EagerTrace) -> Iterator[str]:
    if not before.generation or not after.generation:  # the one cannot generate, or did not load
        if bool(before.generation) is not bool(after.generation) and not {*before.failures, *after.failures}:
            can = ["generates" if trace.generation else "does not generate" for trace in (before, after)]
            yield " -> ".join(can)
        return
    for name in sorted({*before.generation, *after.generation}):
        old, new = before.generation.get(name), after.generation.get(name)
        if old is not None and new is not None and old != new:
            yield f"{name}: {old} -> {new}"
        elif old != new and (old or new) not in _NOTHING:
            yield f"{name}: {old or 'none'} -> {new or 'none'}"


# What says the same as a default that a release does not know.
_NOTHING = ("false", "0", "0.0", "1", "1.0", "[]", None)


def _saved(before: EagerTrace, after: EagerTrace) -> Iterator[Found]:
    """Names that the newer one writes and the older does not: the older may not find them when it reads them back."""
    written = _names(after, "renamed").words(_names(before, "renamed"))
    left = _names(after, "unsaved").words(_names(before, "unsaved"))
    if written or left:
        parts = [*([f"writes {written}"] if written else []), *([f"no more {left}"] if left else [])]
        yield Found(Finding.SAVED, ", ".join(parts))


def _loading(before: EagerTrace, after: EagerTrace) -> Iterator[Found]:
    parts = []
    if beyond(before.seconds, after.seconds, _SECONDS_FACTOR, _SECONDS_STEP):
        parts.append(f"{before.seconds:.2f} -> {after.seconds:.2f} s")
    old, new = before.peak_mib, after.peak_mib
    if old is not None and new is not None and beyond(old, new, _MEMORY_FACTOR, _MEMORY_STEP):
        parts.append(f"{old:,.0f} -> {new:,.0f} MiB")
    if parts:
        yield Found(Finding.LOADING, ", ".join(parts))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
