"""Two sides held against each other: what got worse, what changed, what got better, what came and went, and why.

A side is a report, or several of which the first is the whole and the others measured some of its cells again: what
those differ by is noise. What fails in the same way in both sides is no difference.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from matrix.expectation import Outcome
from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.causes import cause_of
from reports.differences import Aspect, Bands, Diff, Difference, Doubt, Kind, groups
from reports.document import Record, Report, RowRecord, backend_of
from reports.drift import dial_moves, drifts, reworded, what_is_said
from reports.eager import eager_differences, traced_in_both
from reports.explained import laid_to
from reports.lines import beneath, one_line
from reports.markdown import literal
from reports.noise import Measure, Pace, paces
from reports.side import Side, fault_of, name_of, said_by, word_of
from reports.standing import Move, Standing, move
from reports.words import kind_of_module, of_any_model, words_of

_USUAL = Bands()
_NAMED = 3  # of many cells that differ alike
_LISTED = ("left unquantised: ", "parameters in ")
# Why a row says itself that it is about other releases, or about a kernel that is not there.
_OF_OTHERS = re.compile(r"[<>=!~]\S* \(here (?!none\))|\bis here$")
_ASPECT_OF_MEASURE: Mapping[Measure, Aspect] = {Measure.TIME: Aspect.TIME, Measure.MEMORY: Aspect.MEMORY}


def compare(before: Report | Sequence[Report], after: Report | Sequence[Report], bands: Bands = _USUAL) -> Diff:
    """What became of every cell and row."""
    old, new = (Side([side] if isinstance(side, Report) else side) for side in (before, after))
    names = dict.fromkeys([*old.measured, *new.measured])
    of_eager = list(eager_differences(old.whole, new.whole))
    traced = traced_in_both(old.whole, new.whole)
    found = [one for name in names if name not in traced for one in _became(old, new, name, bands)]
    measured = tuple(paces(old.runs, new.runs))
    differences = of_eager + [one for one in found if isinstance(one, Difference)]
    differences += _of_paces(measured, new, bands)
    order = list(Kind)
    return Diff(
        _versions(old.whole, new.whole),
        tuple(sorted(differences, key=lambda one: order.index(one.kind))),
        measured,
        tuple(one for one in found if isinstance(one, Doubt)),
        tuple(name for name in names if _is_compared(old, new, name)),
    )


def transitions(before: Report, after: Report) -> Counter[tuple[str, str]]:
    """How many of the cells that both runs have went from which verdict to which."""
    verdicts = {record.cell: word_of(record) for record in before.records}
    both = (record for record in after.records if record.cell in verdicts)
    return Counter((verdicts[record.cell], word_of(record)) for record in both)


def text_lines(diff: Diff) -> Iterator[str]:
    """For a terminal: versions, counts, then the differences by cause."""
    yield from (one_line(f"{name}: {old} -> {new}") for name, old, new in diff.versions)
    counts = diff.counts
    yield ", ".join(f"{counts[kind]:,} {kind}" for kind in Kind)
    yield from map(one_line, pace_lines(diff.paces))
    for group in groups(diff.differences):
        example = group.example
        others = [one.name for one in group.differences if one is not example]
        yield one_line(f"{group.kind.upper()} {example.name}{f' and {len(others):,} more' if others else ''}")
        yield from beneath(group.cause)
        for found in example.found:
            yield from beneath(found)
        if others:
            more = f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else ""
            yield from beneath(one_line(f"the same: {', '.join(others[:_NAMED])}{more}"))
        yield from beneath(example.command)
    for doubt in diff.doubts:
        yield one_line(f"COULD NOT TELL {doubt.name}")
        yield from beneath(doubt.why)


def markdown_lines(diff: Diff) -> Iterator[str]:
    """For a pull request."""
    yield from ("## What changed", "")
    yield from (f"- {literal(f'{name}: {old} -> {new}')}" for name, old, new in diff.versions)
    yield from (f"- {literal(line)}" for line in pace_lines(diff.paces))
    if not (diff.differences or diff.doubts):
        yield from ("", "No cell and no row differs.")
        return
    yield from ("", "| | cell or row | cause | what differs |", "|---|---|---|---|")
    for group in groups(diff.differences):
        example, more = group.example, len(group.differences) - 1
        named = f"{example.name} and {more} more" if more else example.name
        found = "<br>".join(map(literal, example.found))
        yield f"| {group.kind} | {literal(named)} | {literal(group.cause)} | {found} |"
    for doubt in diff.doubts:
        yield f"| could not tell | {literal(doubt.name)} | | {literal(doubt.why)} |"


def pace_lines(measured: Sequence[Pace], bands: Bands = _USUAL) -> Iterator[str]:
    """What the same cells take, backend by backend."""
    for measure in Measure:
        if told := [pace_words(pace, bands) for pace in measured if pace.measure is measure]:
            yield f"{measure} of the same cells, after / before: {', '.join(told)}"


def pace_words(pace: Pace, bands: Bands = _USUAL) -> str:
    """A pace in a few words."""
    noise = "" if pace.noise is None else f" (runs of one side: {pace.noise:.2f})"
    found = ("beyond noise" if pace.noise is not None else "measure again") if is_beyond_noise(pace, bands) else ""
    return f"{pace.backend} {pace.ratio:.2f}{noise}{f' ({found})' if found else ''}"


def is_beyond_noise(pace: Pace, bands: Bands = _USUAL) -> bool:
    """Whether the same cells take more or less than noise explains."""
    return pace.beyond(bands.time_factor if pace.measure is Measure.TIME else bands.memory_factor)


def _of_paces(measured: Sequence[Pace], after: Side, bands: Bands) -> Iterator[Difference]:
    """Backends that take more or less than before, where repeated runs tell what is noise."""
    for pace in measured:
        if pace.noise is None or not is_beyond_noise(pace, bands):
            continue
        kind = Kind.REGRESSION if pace.ratio > 1 else Kind.IMPROVEMENT
        words = (
            f"{pace.measure} of the same {pace.cells} cells: {pace.ratio:.2f} times what it was; runs of one side "
            f"differ by {pace.noise:.2f} times at most"
        )
        (record, *_) = after.records(pace.example)
        cause = f"{pace.backend}: {pace.measure}"
        yield Difference(
            kind, _ASPECT_OF_MEASURE[pace.measure], pace.example, (words,), (cause,), after.command(record)
        )


def _versions(before: Report, after: Report) -> tuple[tuple[str, str, str], ...]:
    old, new = (_named(report) for report in (before, after))
    names = dict.fromkeys([*old, *new])
    return tuple(
        (name, old.get(name, "none"), new.get(name, "none")) for name in names if old.get(name) != new.get(name)
    )


def _named(report: Report) -> dict[str, str]:
    stack = report.run.stack
    found = {
        "device": stack.hardware,
        "driver": stack.driver,
        "python": report.run.python,
        **stack.versions,
        "commit of the suite": report.run.commit,
        "schema of the report": report.run.schema_version,
    }
    return {name: version for name, version in found.items() if version}


def _is_compared(before: Side, after: Side, name: str) -> bool:
    """Whether both sides measured it; that it could be in neither is no measurement."""
    if name not in before.measured or name not in after.measured:
        return False
    sides = [{*side.standings(name)} - {Standing.UNKNOWN} for side in (before, after)]
    return all(sides) and sides != [{Standing.ABSENT}, {Standing.ABSENT}]


def _became(before: Side, after: Side, name: str, bands: Bands) -> Iterator[Difference | Doubt]:
    if name not in before.measured or name not in after.measured:
        side, kind = (after, Kind.ADDED) if name in after.measured else (before, Kind.DELETED)
        one = side.measured[name][0]
        worked = kind is Kind.DELETED and side.standings(name)[0] is Standing.WORKS
        became = f": {word_of(one)}" if one.fails else ", and it worked" if worked else ""
        cause = f"planned on one side only{became}"
        yield Difference(kind, Aspect.PLAN, name, (word_of(one),), (cause,), side.command(one))
        return
    stood, stands = before.standings(name), after.standings(name)
    was, now = stood[0], stands[0]
    asked_for = after.measured[name][0].fails and not before.measured[name][0].fails
    if len({*stood}) > 1 or len({*stands}) > 1:
        if Standing.UNKNOWN not in (*stood, *stands) and _all_worse(stood, stands):
            yield _moved(before, after, name)
        else:
            yield from _wavers(name, stood, stands)
    elif Standing.UNKNOWN in (was, now) or (was is Standing.ABSENT and (was is not now or asked_for)):
        yield from _not_measured(before, after, name)
    elif was is not now:
        yield _moved(before, after, name)
    else:
        yield from list(_as_bad_otherwise(before, after, name)) or drifts(before, after, name, bands)


def _wavers(name: str, stood: Sequence[Standing], stands: Sequence[Standing]) -> Iterator[Doubt]:
    """What a side does not agree on itself is noise.

    Unless the second side does what the first never did, and the first did not waver alike, or never does any more what
    the first did at its best.
    """
    wavered = len({*stood}) > 1
    worse = [
        now
        for now in stands
        if now not in stood
        and any(move(was, now) is Move.WORSE for was in stood)
        and not (wavered and now is Standing.UNKNOWN)
    ]
    lost = [was for was in stood if was not in stands and _all_worse([was], stands)]
    if worse or lost:
        yield Doubt(name, f"wavers when it is measured again: {', '.join(stood)} before, {', '.join(stands)} after")


def _all_worse(stood: Sequence[Standing], stands: Sequence[Standing]) -> bool:
    """Whether every run of the second side is worse than every run of the first."""
    return all(move(was, now) is Move.WORSE for was in stood for now in stands)


def _not_measured(before: Side, after: Side, name: str) -> Iterator[Difference | Doubt]:
    """What one side did not measure, or could not for want of what is not there."""
    old, new = before.measured[name][0], after.measured[name][0]
    was, now = before.standings(name)[0], after.standings(name)[0]
    found = (f"{word_of(old)} -> {word_of(new)}", *_why(old, new))
    if now is Standing.UNKNOWN:
        if was is not Standing.UNKNOWN:
            yield Doubt(name, f"{word_of(new)} after: {new.reason}")
    elif new.fails:
        yield Doubt(name, f"{word_of(new)} after, {word_of(old)} before: {old.reason or 'nothing was measured'}")
    elif now is Standing.RAISES and said_by(old) and isinstance(new, Record):
        yield reworded(before, after, old, new)
    elif now is Standing.WORKS and was is Standing.ABSENT and isinstance(new, Record):
        cause = f"it is here now; {old.reason}"
        yield Difference(Kind.IMPROVEMENT, Aspect.UNAVAILABLE, name, found, (cause,), after.command(new))
    elif now is not Standing.ABSENT:
        cause = f"measured for the first time: {word_of(new)}"
        yield Difference(Kind.ADDED, Aspect.PLAN, name, found, (cause,), after.command(new))


def _moved(before: Side, after: Side, name: str) -> Difference:
    """A step from one standing to another."""
    old, new = before.measured[name][0], after.measured[name][0]
    was, now = before.standings(name)[0], after.standings(name)[0]
    found = _both_said(before, after, name)
    if isinstance(new, RowRecord) and now is Standing.ABSENT and _is_of_others(new):
        return Difference(Kind.DELETED, Aspect.PLAN, name, found, (f"not reachable any more: {new.reason}",), "")
    step, command = move(was, now), after.command(new)
    if was in (Standing.WRONG, Standing.DIES) and (now is Standing.RAISES or _is_refused_instead(new)):
        step = Move.OTHER  # what does not run any more was not repaired: it may be gone
    if step is Move.BETTER:
        out_of_date = isinstance(new, Record) and new.verdict is Verdict.UNEXPECTED
        aspect = Aspect.EXPECTATION if out_of_date else Aspect.VERDICT
        return Difference(Kind.IMPROVEMENT, aspect, name, found, _what_was_wrong(old, was), command)
    if step is Move.OTHER:
        aspect, causes = _neither_way(before, after, old, new)
        return Difference(Kind.CHANGE, aspect, name, found, causes, command)
    aspects = {Standing.FALLS_BACK: Aspect.FALLBACK, Standing.ABSENT: Aspect.UNAVAILABLE}
    aspect = Aspect.KNOWN if new.waived is not None else aspects.get(now, Aspect.VERDICT)
    return Difference(Kind.REGRESSION, aspect, name, found, _what_is_wrong(new, now), command)


def _neither_way(
    before: Side, after: Side, old: Record | RowRecord, new: Record | RowRecord
) -> tuple[Aspect, tuple[str, ...]]:
    """What a step is about that is neither for the worse nor for the better, and what may explain it."""
    was, now = before.standings(name_of(old))[0], after.standings(name_of(new))[0]
    if now is Standing.ABSENT:
        if not isinstance(old, Record) or not isinstance(new, Record) or not _was_refused(old):
            return Aspect.UNAVAILABLE, what_is_said(before, after, old, new)
        # The no may have come before anything asked for the device or package, which perhaps never was there.
        lacking = ", ".join(new.observation.missing or new.expectation.missing) or new.reason
        return Aspect.UNAVAILABLE, (f"refused before, not measured now without {lacking}: {old.expectation.source}",)
    if _is_refused_instead(new):
        return Aspect.MESSAGE, tuple(f"{cause}; refused instead" for cause in _what_was_wrong(old, was))
    aspect = Aspect.MESSAGE if now is Standing.RAISES else Aspect.VERDICT
    return aspect, what_is_said(before, after, old, new)


def _as_bad_otherwise(before: Side, after: Side, name: str) -> Iterator[Difference]:
    """What is as bad as it was, but excused no more, or by something else."""
    olds, news = before.measured[name], after.measured[name]
    old, new, standing = olds[0], news[0], after.standings(name)[0]
    if standing in (Standing.WORKS, Standing.ABSENT, Standing.UNKNOWN) or _was_refused(old):
        return
    found = _both_said(before, after, name)
    aspect = Aspect.FALLBACK if standing is Standing.FALLS_BACK else Aspect.VERDICT
    causes = _what_is_wrong(new, standing)
    if all(one.fails for one in news) and not any(one.fails for one in olds):
        yield Difference(Kind.REGRESSION, aspect, name, found, causes, after.command(new))
    elif standing is not Standing.RAISES and not _is_claim(new):
        # Whether a fault is excused makes it no other fault; of one whose place was not looked for, or else its dials,
        # no more is known.
        was, now = ({cause for one in ones for cause in _faults(one, standing)} for ones in (olds, news))
        if was.isdisjoint(now) and len({_looked_at(one) for one in (*olds, *news)}) == 1:
            yield Difference(Kind.CHANGE, aspect, name, found, causes, after.command(new))


def _was_refused(one: Record | RowRecord) -> bool:
    """Whether a library said no as it is documented to: what it says instead is another message."""
    return (one.outcome is RowOutcome.REFUSED) if isinstance(one, RowRecord) else one.verdict is Verdict.REFUSED


def _is_refused_instead(one: Record | RowRecord) -> bool:
    """Whether a reported failure is gone because a library says no, in the words that its row allows."""
    if not isinstance(one, RowRecord) or one.family is not Family.REGRESSION:
        return False
    return one.outcome is RowOutcome.HOLDS and bool(one.reason)


def _is_claim(one: Record | RowRecord) -> bool:
    """Whether its figures are compared, which its reason only repeats."""
    return isinstance(one, RowRecord) and one.family is Family.CLAIM


def _looked_at(one: Record | RowRecord) -> str:
    """What a fault is told from others by."""
    if not isinstance(one, Record):
        return ""
    return "origin" if one.observation.origin is not None else "dials" if one.observation.readings else ""


def _faults(one: Record | RowRecord, standing: Standing) -> Iterator[frozenset[str]]:
    """All that may be called its fault, excused or not."""
    for cause in (*_what_is_wrong(one, standing), *_what_is_wrong(one.model_copy(update={"waived": None}), standing)):
        yield words_of(cause)


def _is_of_others(row: RowRecord) -> bool:
    """Whether it says itself that it asks nothing of such a stack; of what the guide says everybody asks."""
    return row.family is not Family.GUIDE and _OF_OTHERS.search(row.reason) is not None


def _what_was_wrong(old: Record | RowRecord, was: Standing) -> tuple[str, ...]:
    if old.waived is None and isinstance(old, Record) and old.expectation.outcome is Outcome.REFUSED:
        return (f"no longer refused: {old.expectation.source}",)
    return tuple(f"no longer: {cause}" for cause in _what_is_wrong(old, was))


def _what_is_wrong(one: Record | RowRecord, standing: Standing) -> tuple[str, ...]:
    """What those of one cause have in common, the likeliest first."""
    if one.waived is not None:
        return (fault_of(one.waived),)
    if isinstance(one, RowRecord):
        about = f"{one.about}: " if one.about and one.outcome is RowOutcome.VIOLATED else ""
        return (f"{about}{of_any_model(one.reason)}",)
    origin = one.observation.origin
    if one.observation.evidence.missing_parameters:
        return (cause_of(one),)
    if standing is Standing.WRONG:
        of_backend = f"wrong numbers: {backend_of(one)}"
        dial = laid_to(one)
        by_dial = (f"{of_backend}, {dial.name}",) if dial is not None else ()
        if origin is None:
            return by_dial or (f"{of_backend}, {one.axes['workload']}",)
        what = "gradients" if origin.backwards else "numbers"
        return (f"wrong {what} begin in {kind_of_module(origin.kind)}, {origin.pattern}", *by_dial)
    if standing is Standing.FALLS_BACK:
        # What of several things is another than the cell names: of a list of modules no more than that there is one.
        return tuple(part.split(": ")[0] if part.startswith(_LISTED) else part for part in one.reason.split("; "))
    if one.verdict is Verdict.REFUSED:
        return f"refused now: {one.expectation.source}", of_any_model(said_by(one))
    if standing is Standing.RAISES or one.verdict is Verdict.ERROR:
        return of_any_model(said_by(one)), cause_of(one)
    return (cause_of(one),)


def _both_said(before: Side, after: Side, name: str) -> tuple[str, ...]:
    """Both verdicts and reasons, and the dials that moved between the two."""
    old, new = before.measured[name][0], after.measured[name][0]
    dials = (words for _, words in dial_moves(before, after, name))
    return (f"{word_of(old)} -> {word_of(new)}", *_why(old, new), *dials)


def _why(old: Record | RowRecord, new: Record | RowRecord) -> Iterator[str]:
    # What is right needs no reason.
    if new.reason and not _is_right(new):
        yield new.reason
    if old.reason and not _is_right(old):
        yield f"was: {old.reason}"


def _is_right(one: Record | RowRecord) -> bool:
    if isinstance(one, RowRecord):
        return one.outcome is RowOutcome.HOLDS and not _is_refused_instead(one)
    return one.verdict in (Verdict.SUPPORTED, Verdict.UNEXPECTED)
