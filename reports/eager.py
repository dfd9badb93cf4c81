"""What eager attention computed in two runs, held against each other: on the same bytes it should be the same."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from matrix.eager_moves import Move, Word, load_moves
from matrix.rows import Family, RowOutcome
from reports.differences import Aspect, Difference, Kind
from reports.document import EagerTrace, Report, RowRecord
from reports.text import row_command

EQUAL_WITHIN = 1e-4  # standard deviations of the logits: sums of float32 in another order stay well below
# Loading on a machine that others use: what differs by less is noise.
_SECONDS_FACTOR, _SECONDS_STEP = 3.0, 5.0
_MEMORY_FACTOR, _MEMORY_STEP = 1.5, 64.0  # MiB
_NAMED = 4  # of the names of a list


class Finding(StrEnum):
    """What became of an architecture, the gravest first."""

    NOT_LOADED = "does not run any more"
    WEIGHTS_LOST = "weights lost"
    MOVED = "computes something else"
    TOKENS = "generates something else"
    DEFAULTS = "other generation defaults"
    SAVED = "saves under other names"
    LOADING = "loads at another cost"
    OTHER_BYTES = "not the same bytes"
    FOUND_AGAIN = "weights found again"
    LOADED = "runs now"
    NEW = "new"
    GONE = "gone"
    EQUAL = "equal"


# What each is to whoever upgrades. What only one side ran is said as of any row.
_WEIGHS: Mapping[Finding, tuple[Kind, Aspect]] = {
    Finding.NOT_LOADED: (Kind.REGRESSION, Aspect.VERDICT),
    Finding.WEIGHTS_LOST: (Kind.REGRESSION, Aspect.VERDICT),
    Finding.MOVED: (Kind.CHANGE, Aspect.EAGER),
    Finding.TOKENS: (Kind.CHANGE, Aspect.EAGER),
    Finding.DEFAULTS: (Kind.CHANGE, Aspect.EAGER),
    Finding.SAVED: (Kind.CHANGE, Aspect.EAGER),
    Finding.LOADING: (Kind.CHANGE, Aspect.EAGER),
    Finding.OTHER_BYTES: (Kind.CHANGE, Aspect.PLAN),
    Finding.FOUND_AGAIN: (Kind.IMPROVEMENT, Aspect.VERDICT),
    Finding.LOADED: (Kind.IMPROVEMENT, Aspect.VERDICT),
}
_KNOWN: Mapping[Word, tuple[Kind, Aspect]] = {
    Word.REGRESSION: (Kind.REGRESSION, Aspect.KNOWN),
    Word.REPAIR: (Kind.IMPROVEMENT, Aspect.EAGER),
}
# Of these the words differ from architecture to architecture, and the cause may be one.
_OF_ITS_OWN_KIND = (Finding.MOVED, Finding.WEIGHTS_LOST, Finding.TOKENS, Finding.LOADING, Finding.OTHER_BYTES)


@dataclass(frozen=True)
class Found:
    """One thing that differs between two traces, in words with both values."""

    finding: Finding
    words: str


@dataclass(frozen=True)
class Compared:
    """What differs of one architecture between two runs."""

    name: str
    found: tuple[Found, ...]  # the gravest first; empty where all is equal
    moved: float | None = None  # standard deviations at the worst number; None where it cannot be told
    known: Move | None = None  # which explains that it moved

    @property
    def finding(self) -> Finding:
        """The gravest."""
        return self.found[0].finding if self.found else Finding.EQUAL


def compare_traces(before: EagerTrace, after: EagerTrace) -> tuple[float | None, tuple[Found, ...]]:
    """By how many standard deviations the logits moved, and what differs, the gravest first.

    Of other bytes or other inputs nothing is said but that: they compute something else by right.
    """
    same = before.files == after.files and before.inputs == after.inputs
    # Who could not come so far knows nothing of the inputs.
    same_bytes = before.files == after.files and (same or not (before.inputs and after.inputs))
    moved = _deviations(before, after) if same else None
    found = [*_failures(before, after), *_weights(before, after)] if same_bytes else [_other_bytes(before, after)]
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
            gone = now is None
            row = _row(after if gone else before, name)
            why = row.reason if row is not None and row.outcome is not RowOutcome.HOLDS and row.reason else "no row"
            found.append(Compared(name, (Found(Finding.GONE if gone else Finding.NEW, why),)))
            continue
        moved, differs = compare_traces(was, now)
        grave = any(one.finding in (Finding.MOVED, Finding.WEIGHTS_LOST, Finding.FOUND_AGAIN) for one in differs)
        known = next((move for move in load_moves() if grave and move.explains(name, *releases)), None)
        found.append(Compared(name, differs, moved, known))
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
    for one in compare_eager(before, after):
        name = f"{Family.EAGER}:{one.name}"
        for found in one.found if name in both else ():
            kind, aspect = _WEIGHS[found.finding]
            words, cause = f"{found.finding}: {found.words}", str(found.finding)
            if found.finding in _OF_ITS_OWN_KIND:
                if one.known is not None:
                    kind, aspect = _KNOWN[one.known.word]
                    cause = one.known.cause
                yield Difference(kind, aspect, name, (words, *reading(one)), (cause,), command[name])
            else:
                yield Difference(kind, aspect, name, (words,), (words,), command[name])


def reading(one: Compared) -> tuple[str, ...]:
    """How a move is to be read, in a line; nothing where it did not move."""
    if one.known is not None:
        return (f"known, a {one.known.word}: {one.known.cause} ({one.known.place})",)
    return ("repair or regression? nobody has read it yet",) if one.finding is Finding.MOVED else ()


def eager_lines(found: Sequence[Compared]) -> Iterator[str]:
    """A table for a terminal: how many of each finding, then what differs, the gravest first."""
    counts = {finding: sum(one.finding is finding for one in found) for finding in Finding}
    yield f"{len(found):,} architectures: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    width = max((len(one.name) for one in found), default=0)
    for finding in Finding:
        of_it = [one for one in found if one.finding is finding and one.found]
        of_it.sort(key=lambda one: -(one.moved if one.moved is not None else 0.0))
        if of_it:
            yield ""
            yield f"{finding}: {len(of_it):,}"
        for one in of_it:
            first, *others = one.found
            yield f"  {one.name:{width}}  {first.words}"
            yield from (f"  {'':{width}}  {other.finding}: {other.words}" for other in others)
            yield from (f"  {'':{width}}  {line}" for line in reading(one))


def _traces(report: Report) -> dict[str, EagerTrace]:
    return {row.name: row.eager for row in report.rows if row.family is Family.EAGER and row.eager is not None}


def _row(report: Report, name: str) -> RowRecord | None:
    return next((row for row in report.rows if row.family is Family.EAGER and row.name == name), None)


def _other_bytes(before: EagerTrace, after: EagerTrace) -> Found:
    if before.files != after.files:
        which = f"{before.fixture} and {after.fixture}" if before.fixture != after.fixture else "of one name, made anew"
        return Found(Finding.OTHER_BYTES, f"{which}; --fixtures-of the other's report loads the same")
    return Found(Finding.OTHER_BYTES, f"other inputs: {before.inputs} and {after.inputs}")


def _failures(before: EagerTrace, after: EagerTrace) -> Iterator[Found]:
    for step, words in after.failures.items():
        if step not in before.failures and "load" not in before.failures:
            yield Found(Finding.NOT_LOADED, f"{step}: {words}")
    for step, words in before.failures.items():
        if step not in after.failures and "load" not in after.failures:
            yield Found(Finding.LOADED, f"{step}: was {words}")


def _weights(before: EagerTrace, after: EagerTrace) -> Iterator[Found]:
    if "load" in {*before.failures, *after.failures}:
        return
    old, new = ({*trace.missing, *trace.mismatched} for trace in (before, after))
    if new - old:
        dropped = sorted({*after.unexpected} - {*before.unexpected})
        beside = f"; the files hold {_listed(dropped)}, of which nothing is taken" if dropped else ""
        yield Found(Finding.WEIGHTS_LOST, f"drawn anew: {_listed(sorted(new - old))}{beside}")
    elif dropped := sorted({*after.unexpected} - {*before.unexpected}):
        yield Found(Finding.WEIGHTS_LOST, f"in the files, and not taken: {_listed(dropped)}")
    if old - new:
        yield Found(Finding.FOUND_AGAIN, f"were drawn anew: {_listed(sorted(old - new))}")


def _deviations(before: EagerTrace, after: EagerTrace) -> float | None:
    """How far the worst number moved, in standard deviations of the logits; None where one of them has none."""
    if not before.numbers or not after.numbers:
        return None
    if before.shape != after.shape or len(before.numbers) != len(after.numbers):
        return math.inf
    spread = before.spread if before.spread and math.isfinite(before.spread) else 1.0
    return max(_apart(*pair) for pair in zip(before.numbers, after.numbers, strict=True)) / spread


def _apart(one: float, other: float) -> float:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    apart = abs(one - other)
    return math.inf if math.isnan(apart) else apart


def _moved_words(before: EagerTrace, after: EagerTrace, moved: float) -> str:
    if before.shape != after.shape:
        return f"logits of shape {before.shape} -> {after.shape}"
    if not math.isfinite(moved):
        return "a number is finite in one of them alone"
    spread = before.spread or 1.0
    apart = [_apart(*pair) for pair in zip(before.numbers, after.numbers, strict=True)]
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
    written = sorted({*after.renamed} - {*before.renamed})
    left = sorted({*after.unsaved} - {*before.unsaved})
    if written or left:
        parts = [*([f"writes {_listed(written)}"] if written else []), *([f"no more {_listed(left)}"] if left else [])]
        yield Found(Finding.SAVED, ", ".join(parts))


def _loading(before: EagerTrace, after: EagerTrace) -> Iterator[Found]:
    parts = []
    if _beyond(before.seconds, after.seconds, _SECONDS_FACTOR, _SECONDS_STEP):
        parts.append(f"{before.seconds:.2f} -> {after.seconds:.2f} s")
    old, new = before.peak_mib, after.peak_mib
    if old is not None and new is not None and _beyond(old, new, _MEMORY_FACTOR, _MEMORY_STEP):
        parts.append(f"{old:,.0f} -> {new:,.0f} MiB")
    if parts:
        yield Found(Finding.LOADING, ", ".join(parts))


def _beyond(old: float, new: float, factor: float, step: float) -> bool:
    low, high = min(old, new), max(old, new)
    return high > factor * low and high - low > step


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
