"""The gate of an upgrade: is it safe, does it make something worse, or could it not be told?"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from matrix.errors import UsageError, quoted
from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.causes import few
from reports.diff import compare, is_beyond_noise, pace_lines
from reports.differences import Aspect, Bands, Diff, Difference, Doubt, Group, Kind, groups
from reports.document import CUT_OFF, Record, Report, Run, backend_of
from reports.drift import bounds_of
from reports.lines import beneath, one_line
from reports.markdown import literal
from reports.noise import Pace
from reports.part import Part
from reports.policy import Matters, Policy
from reports.proposals import Proposal, proposals
from reports.words import words_of

SCHEMA_VERSION = "1.0"
_NAMED = 3  # of many doubts
_LONGEST = 200  # characters of a value
_REPEAT = """\
name them in a file, one a line (all are in `doubtful` of --format json), and measure them again in both environments:
python -m pytest --only=FILE --report-dir=RUN
then give both runs to the gate: --before-again RUN --after-again RUN"""
_USUAL = Policy()
_TO_REPEAT = 20  # cells of a backend that seems to take more
_THEIRS = "--fixtures-of"  # makes both sides alike, and only the second can be given it


class Answer(StrEnum):
    """What the gate says."""

    SAFE = "safe"
    REGRESSIONS = "regressions"
    UNSURE = "unsure"


_EXIT_STATUS: Mapping[Answer, int] = {Answer.SAFE: 0, Answer.REGRESSIONS: 1, Answer.UNSURE: 2}


class Allowed(StrEnum):
    """What may differ between both sides if it is named."""

    DEVICE = "device"
    PLAN = "plan"
    SEED = "seed"


class Format(StrEnum):
    """How a gate is told."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    GITHUB = "github"  # annotations of a workflow's run
    HTML = "html"


class Version(Part):
    """What another version is of, or another device."""

    name: str
    before: str
    after: str


class Cause(Part):
    """Cells and rows that one cause made worse, other or better."""

    kind: Kind
    aspect: Aspect
    fails: bool = Field(description="whether it fails the gate")
    cause: str
    count: int
    example: str = Field(description="the cell or row that is shortest to reproduce")
    found: list[str] = Field(description="what differs in it")
    command: str = Field(description="that shows it, run in either environment; or empty")
    where: str = Field(default="", description="the architectures and backends of the cells")
    names: list[str] = Field(description="all of them")


class Gate(Part):
    """What an upgrade does, by a written policy."""

    kind: Literal["gate"] = "gate"
    schema_version: str = SCHEMA_VERSION
    verdict: Answer
    exit_status: int = Field(description="0 safe, 1 regressions, 2 could not tell")
    why: list[str] = Field(description="why it could not be told, in all or of some cells")
    versions: list[Version]
    compared: int = Field(description="cells and rows that both sides measured and that matter")
    counts: dict[Kind, int] = Field(description="of differences")
    groups: list[Cause] = Field(description="the worst kind first, the most frequent cause first")
    paces: list[str] = Field(description="time and memory of the same cells")
    proposals: list[Proposal]
    doubtful: list[str] = Field(description="cells and rows that look worse and were measured once: to be repeated")
    left_out: int = Field(description="differences that the policy leaves out")
    policy: Policy


def judge(
    before: Sequence[Report],
    after: Sequence[Report],
    policy: Policy = _USUAL,
    allowed: Sequence[Allowed] = (),
    beside: Sequence[Difference] = (),
) -> Gate:
    """Hold both sides against the policy.

    Of each side the first report is the whole run; the others measured some of its cells again. What differs `beside`
    the cells and rows of reports counts as what differs in them.
    """
    diff = compare(before, after, policy.within.bands)
    records = {record.cell: record for run in (*before, *after) for record in run.records}
    all_differences = [*diff.differences, *beside]
    weighed = [_weighed(one, policy, records) for one in all_differences]
    differences = [one for one in weighed if one is not None]
    told = _missing(after[0]) if after[0].cut_off else set()  # that it was cut off says as much
    doubts = [one for one in diff.doubts if one.name not in told and _matters(one.name, policy, records)]
    found = groups(differences)
    incomparable = list(_incomparable(before[0].run, after[0].run, allowed))
    compared = sum(_is_told_of(name, policy, records) for name in diff.compared)
    why = [
        *incomparable,
        *([] if compared else ["no cell and no row that matters was measured in both sides"]),
        *_cut_off(before, after),
        *_new_problems(before[0], after[0]),
        *_doubts_in_words(doubts),
    ]
    causes = [_cause(group, policy, records) for group in found]
    failing = any(cause.fails for cause in causes)
    verdict = Answer.UNSURE if why else Answer.SAFE
    if failing and not incomparable:
        verdict = Answer.REGRESSIONS
    counts = Counter(one.kind for one in differences)
    return Gate(
        verdict=verdict,
        exit_status=_EXIT_STATUS[verdict],
        why=why,
        versions=[Version(name=name, before=old, after=new) for name, old, new in diff.versions],
        compared=compared,
        counts={kind: counts[kind] for kind in Kind},
        groups=causes,
        paces=list(pace_lines(diff.paces, policy.within.bands)),
        proposals=_proposed(after, diff),
        doubtful=list(_doubtful(before, after, differences, doubts, diff.paces, policy.within.bands)),
        left_out=len(all_differences) - len(differences),
        policy=policy,
    )


def check_repeated(side: Sequence[tuple[str, Report]]) -> None:
    """Look whether the runs of a side, each with the name of its source, measured the same again.

    Raises:
        UsageError: one is the same run as another, or was made with something else than the first.
    """
    (first, whole), *others = side
    seen = {whole.run.started: first}
    for name, again in others:
        if again.run.started in seen:
            raise UsageError(f"{name}: is the same run as {seen[again.run.started]}; name one that measured it again")
        seen[again.run.started] = name
        old, new = whole.run.stack.versions, again.run.stack.versions
        if library := next((one for one in {**old, **new} if old.get(one) != new.get(one)), None):
            both = f"{library} {new.get(library, 'none')}, {first} with {old.get(library, 'none')}"
            raise UsageError(f"{name}: was measured with {both}: it is no further run of that side")
        for what, was, now in _differs(whole.run, again.run):
            if what not in _PARTS:
                raise UsageError(f"{name}: has another {what} than {first}, {now} and not {was}; measure it again")


def parse_allowed(text: str) -> tuple[Allowed, ...]:
    """The names after --allow.

    Raises:
        UsageError: nothing of that name may differ.
    """
    names = [name for name in text.split(",") if name]
    strange = [name for name in names if name not in list(Allowed)]
    if strange:
        raise UsageError(f"--allow {quoted(strange[0])}: may be {', '.join(Allowed)}")
    return tuple(map(Allowed, names))


def gate_lines(gate: Gate, form: Format) -> Iterator[str]:
    """The gate in text, Markdown, JSON or as annotations; the page is another matter (reports/html.py)."""
    if form is Format.JSON:
        yield gate.model_dump_json(indent=1)
    else:
        yield from {Format.TEXT: _text, Format.MARKDOWN: _markdown, Format.GITHUB: _github}[form](gate)


def headline(gate: Gate) -> str:
    """The answer in one sentence."""
    said = {
        Answer.SAFE: "safe: nothing got worse",
        Answer.REGRESSIONS: "regressions",
        Answer.UNSURE: "could not tell",
    }[gate.verdict]
    causes = Counter(cause.kind for cause in gate.groups)
    parts = [
        f"{gate.counts[kind]:,} {kind}{'' if gate.counts[kind] == 1 else 's'} of {causes[kind]:,} "
        f"{'cause' if causes[kind] == 1 else 'causes'}"
        for kind in (Kind.REGRESSION, Kind.CHANGE, Kind.IMPROVEMENT)
        if gate.counts[kind]
    ]
    if gone := gate.counts[Kind.DELETED]:
        parts.append(f"{gone:,} not measured any more")
    compared = f"{gate.compared:,} cells and rows compared"
    return "; ".join([said, *parts, compared])


def _text(gate: Gate) -> Iterator[str]:
    yield headline(gate)
    yield from (one_line(f"{one.name}: {one.before} -> {one.after}") for one in gate.versions)
    yield from (one_line(f"COULD NOT TELL {why}") for why in gate.why)
    for cause in gate.groups:
        yield ""
        count = f"{cause.count:,} cells or rows" if cause.count > 1 else cause.example
        yield one_line(f"{_label(cause).upper()} {count}: {cause.cause}")
        yield from beneath(cause.where)
        if cause.count > 1:
            yield from beneath(one_line(f"for example {cause.example}"))
        if cause.aspect is Aspect.PLAN:
            continue
        for told in (*cause.found, cause.command):
            yield from beneath(told)
    if gate.paces or gate.proposals or gate.doubtful or gate.left_out:
        yield ""
    yield from map(one_line, gate.paces)
    for proposal in gate.proposals:
        said = f"the expectation is out of date: {proposal.why} in {proposal.cells:,} cells{_of_rule(proposal)}"
        yield one_line(said)
        yield from beneath(proposal.toml)
    if gate.doubtful:
        yield from _to_be_repeated(gate.doubtful)
    if gate.left_out:
        yield f"{gate.left_out:,} differences left out by the policy"


def _to_be_repeated(names: Sequence[str]) -> Iterator[str]:
    """What look worse, and how they are measured again."""
    named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
    yield one_line(f"{len(names):,} cells or rows look worse and were measured once: {named}")
    yield from beneath(_REPEAT)


def _of_rule(proposal: Proposal) -> str:
    return f" ({proposal.rule})" if proposal.rule else ""


def _label(cause: Cause) -> str:
    if cause.aspect is Aspect.EXPECTATION:
        return f"{cause.kind}, the expectation is out of date"
    return f"{cause.kind}" if cause.aspect in (Aspect.VERDICT, Aspect.PLAN) else f"{cause.kind} ({cause.aspect})"


def _markdown(gate: Gate) -> Iterator[str]:
    yield from (f"## Upgrade: {literal(headline(gate))}", "")
    yield from (f"- {literal(f'{one.name}: {one.before} -> {one.after}')}" for one in gate.versions)
    yield from (f"- could not tell: {literal(why)}" for why in gate.why)
    yield from (f"- {literal(line)}" for line in gate.paces)
    if gate.groups:
        yield from (
            "",
            "| | cells or rows | cause | for example | what differs | again |",
            "|---|---:|---|---|---|---|",
        )
    for cause in gate.groups:
        found = "<br>".join(map(literal, cause.found))
        parts = [_label(cause), f"{cause.count:,}", cause.cause, cause.example]
        yield f"| {' | '.join(map(literal, parts))} | {found} | {literal(cause.command)} |"
    for proposal in gate.proposals:
        said = f"The expectation is out of date: {proposal.why} in {proposal.cells:,} cells{_of_rule(proposal)}"
        yield from ("", literal(said), "")
        yield from (f"    {line}" for line in proposal.toml.splitlines())


def _github(gate: Gate) -> Iterator[str]:
    for cause in gate.groups:
        if cause.kind is Kind.ADDED:
            continue
        level = "error" if cause.fails else "notice" if cause.kind is Kind.IMPROVEMENT else "warning"
        told = "\n".join([cause.cause, *cause.found, *([cause.command] if cause.command else [])])
        named = (
            f"{_label(cause)}: {cause.count:,} × {cause.example}"
            if cause.count > 1
            else f"{_label(cause)}: {cause.example}"
        )
        yield f"::{level} title={_property(named)}::{_data(told)}"
    yield from (f"::warning title=could not tell::{_data(why)}" for why in gate.why)
    yield f"::{'notice' if gate.verdict is Answer.SAFE else 'error'} title=upgrade::{_data(headline(gate))}"


def _data(text: str) -> str:
    """As GitHub asks for it in the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same in one of its properties."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of what `--format json` writes."""
    return Gate.model_json_schema()


def _weighed(one: Difference, policy: Policy, records: Mapping[str, Record]) -> Difference | None:
    kind = policy.kind_of(one.kind, one.aspect)
    if kind is None or not _matters(one.name, policy, records):
        return None
    return replace(one, kind=kind)


def _matters(name: str, policy: Policy, records: Mapping[str, Record]) -> bool:
    record = records.get(name)
    if record is None:
        family, _, row = name.partition(":")
        return family != Family.EAGER or policy.matters.includes_architecture(row)
    return policy.matters.includes(record.axes["architecture"], record.axes["dtype"], backend_of(record))


def _is_told_of(name: str, policy: Policy, records: Mapping[str, Record]) -> bool:
    """Whether it says something of what matters: where not all does, a row of no architecture does not."""
    of_one = name in records or name.startswith(f"{Family.EAGER}:")
    return _matters(name, policy, records) and (of_one or policy.matters == Matters())


def _missing(run: Report) -> set[str]:
    """What was planned and has no record."""
    cells = {record.cell for record in run.records if record.verdict is Verdict.MISSING}
    return cells | {row.key for row in run.rows if row.outcome is RowOutcome.MISSING}


def _incomparable(before: Run, after: Run, allowed: Sequence[Allowed]) -> Iterator[str]:
    """What makes both sides measurements of different things, but for what may differ."""
    names = {what: name for name, what, _ in _SAME}
    for what, was, now in _differs(before, after):
        if names[what] not in allowed:
            yield f"another {what}: {was} before, {now} after (--allow {names[what]})"


def _differs(before: Run, after: Run) -> Iterator[tuple[str, str, str]]:
    """What of both is another, and both values as they are told."""
    for _, what, value_of in _SAME:
        old, new = value_of(before), value_of(after)
        if old != new:
            was, now = map(_shown, _differing(old, new))
            yield what, was, now


_SAME: tuple[tuple[Allowed, str, Callable[[Run], object]], ...] = (
    (Allowed.DEVICE, "device", lambda run: [gpu.name for gpu in run.stack.gpus] or [run.stack.device.value]),
    (Allowed.DEVICE, "kind of processor", lambda run: list(run.stack.cpu_flags)),
    (Allowed.SEED, "seed", lambda run: run.seed),
    (Allowed.PLAN, "profile", lambda run: run.profile),
    (Allowed.PLAN, "part of the profile", lambda run: run.narrowed),
    (Allowed.PLAN, "shard", lambda run: str(run.shard or "")),
    (Allowed.PLAN, "set of checkpoints", lambda run: run.checkpoints),
    (Allowed.PLAN, "set of options", lambda run: {name: run.options[name] for name in run.options if name != _THEIRS}),
    (Allowed.PLAN, "set of bounds", bounds_of),
)
# Who measures again measures some of it.
_PARTS = ("profile", "part of the profile", "shard")


def _differing(old: object, new: object) -> tuple[object, object]:
    """Two values; of two tables what differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        return tuple([f"{name} {of.get(name, 'not given')}" for name in names] for of in (old, new))  # type: ignore[return-value]
    return old, new


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:_LONGEST] or "none"


def _cut_off(before: Sequence[Report], after: Sequence[Report]) -> Iterator[str]:
    for side, runs in (("before", before), ("after", after)):
        for run in runs:
            if run.cut_off:
                yield f"{side}: {run.cut_off}"
            if run.unreadable:
                yield f"{side}: {len(run.unreadable):,} parts of the report cannot be read: {run.unreadable[0]}"


def _new_problems(before: Report, after: Report) -> Iterator[str]:
    """What makes the new run fail beside its cells, and not the old one.

    A waiver that excuses nothing any more is none of it: its fault is gone.
    """
    known = {words_of(problem) for problem in before.problems}
    for problem in after.problems:
        is_of_a_waiver = ".toml: waiver " in problem
        if words_of(problem) not in known and not is_of_a_waiver and not problem.startswith(CUT_OFF):
            yield f"after: {problem}"


def _doubts_in_words(doubts: Sequence[Doubt]) -> Iterator[str]:
    """The same words once, with the cells that they are said of."""
    named: dict[str, list[str]] = {}
    for doubt in doubts:
        named.setdefault(doubt.why.splitlines()[0], []).append(doubt.name)
    for why, names in named.items():
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        yield f"{', '.join(names[:_NAMED])}{more}: {why}"


def _cause(group: Group, policy: Policy, records: Mapping[str, Record]) -> Cause:
    example = group.example
    cells = [records[one.name] for one in group.differences if one.name in records]
    architectures = sorted({record.axes["architecture"] for record in cells})
    backends = sorted({backend_of(record) for record in cells})
    return Cause(
        kind=group.kind,
        aspect=group.aspect,
        fails=group.kind is Kind.REGRESSION or (policy.strict and group.aspect is Aspect.EXPECTATION),
        cause=group.cause,
        count=len(group.differences),
        example=example.name,
        found=list(example.found),
        command=example.command,
        where=" · ".join([few(architectures, "architectures"), few(backends, "backends")]) if cells else "",
        names=[one.name for one in group.differences],
    )


def _proposed(after: Sequence[Report], diff: Diff) -> list[Proposal]:
    stack = after[0].run.stack
    raised = [name for name, _, _ in diff.versions if name in stack.versions]
    return proposals(after[0].records, stack, raised)


def _repeatable(run: Report) -> Iterator[str]:
    """What may come out otherwise another time: what eager attention computes does not."""
    yield from (record.cell for record in run.records)
    yield from (row.key for row in run.rows if row.family is not Family.EAGER)


def _doubtful(
    before: Sequence[Report],
    after: Sequence[Report],
    differences: Sequence[Difference],
    doubts: Sequence[Doubt],
    paces: Sequence[Pace],
    bands: Bands,
) -> Iterator[str]:
    """Cells and rows that look worse, or take another time, and that one of the sides measured once."""
    counts = [Counter(name for run in side for name in _repeatable(run)) for side in (before, after)]
    names = [one.name for one in differences if one.kind is Kind.REGRESSION or one.aspect is Aspect.TIME]
    names += [doubt.name for doubt in doubts]
    for pace in paces:
        if pace.noise is None and pace.ratio > 1 and is_beyond_noise(pace, bands):
            same = (record.cell for record in after[0].records if backend_of(record) == pace.backend)
            names += list(same)[:_TO_REPEAT]
    for name in dict.fromkeys(names):
        if all(name in count for count in counts) and min(count[name] for count in counts) < 2:
            yield name
