"""The front of a site: what works since which release, by architecture and backend, and the data of its answers."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matrix.architectures import load_architectures
from matrix.axes import Dtype
from matrix.cell import AXES, SILENT
from matrix.rows import Family, RowOutcome
from matrix.stack import Device
from matrix.verdict import Verdict
from reports.cell_data import Numbered, safe_json
from reports.document import ArchitectureFacts, Report, RowRecord, backend_of
from reports.intervals import (
    CameTo,
    Interval,
    Outcome,
    Seen,
    interval_words,
    intervals,
    intervals_of_one,
    outcome_of,
    since,
    span_words,
)
from reports.runs import Published
from reports.support import Series, State, state_of
from reports.views import axis_values

# Beside the colour, so that no meaning hangs on colour alone.
MARKS = {CameTo.SUPPORTED: "✓", CameTo.MIXED: "△", CameTo.WRONG: "✕", CameTo.REFUSED: "⊘"}
LOOKS = {came_to: came_to.name.lower() for came_to in CameTo}  # of a stylesheet
_ROW_LOOKS = {RowOutcome.HOLDS: CameTo.SUPPORTED, RowOutcome.REFUSED: CameTo.REFUSED}
_LONGEST_REASON = 300  # characters; the page of the run has all
_NUMBER = re.compile(r"\d[\w.]*")
_TOGETHER = ("none", "gpu0", "auto")  # what is wrong of a model whose weights lie apart says nothing of its attention
_OF_ROWS = (Family.REGRESSION, Family.GUIDE)

# One cell by release, None where it was not measured.
_Course = list[Seen | None]


@dataclass(frozen=True)
class Shown:
    """One entry of the table: what an architecture came to with a backend, unquantised and all in one place."""

    spans: tuple[Interval[CameTo], ...]  # from old to new
    versions: tuple[str, ...]
    refused: bool  # whether a part of what is supported today is refused

    @property
    def latest(self) -> Interval[CameTo]:
        """What counts."""
        return self.spans[-1]

    @property
    def noted(self) -> bool:
        """Whether there is more to say than it shows."""
        return len(self.spans) > 1 or self.refused or self.latest.came_to is CameTo.MIXED

    @property
    def past(self) -> bool:
        """Whether newer releases say nothing of it."""
        return self.latest.last < len(self.versions) - 1

    @property
    def release(self) -> str:
        """Since when it is so, or the last release in which it was, if there are newer ones."""
        return f"to {self.versions[self.latest.last]}" if self.past else since(self.latest, self.versions)

    @property
    def words(self) -> str:
        """All of its intervals."""
        return interval_words(self.spans, self.versions)


@dataclass(frozen=True)
class Step:
    """Releases in a row in which a row came to the same, and was refused in the same words."""

    came_to: CameTo
    words: str
    reason: str


@dataclass(frozen=True)
class Told:
    """One reported failure, or one recipe of the guide, release by release."""

    row: RowRecord  # of the newest release that has it
    spans: tuple[Interval[CameTo], ...]
    steps: tuple[Step, ...]  # from new to old

    @property
    def latest(self) -> CameTo:
        """What counts."""
        return self.spans[-1].came_to


@dataclass(frozen=True)
class Measured:
    """What was measured on one device with one set of the other libraries, whatever the release of transformers."""

    number: int  # of its section on the page of intervals
    series: Series
    cuda: bool
    backends: tuple[str, ...]  # those of models that nothing transforms, pinned to one kernel last
    groups: tuple["Rows", ...]  # those of which most is known first
    told: tuple[Told, ...]  # what came or went first, then what is still there
    runs: tuple[tuple[str, ...], ...]  # by release
    subjects: tuple["Subject", ...] = field(repr=False)

    @property
    def label(self) -> str:
        """In short."""
        torch = dict(self.series.fixed).get("torch")
        return self.series.device + (f", torch {torch}" if torch else "")

    @property
    def types(self) -> int:
        """How many architectures have cells."""
        return sum(len(group.rows) for group in self.groups)


@dataclass(frozen=True)
class Rows:
    """Architectures that the table shows together."""

    title: str
    backends: tuple[str, ...]  # the columns: those with an entry
    rows: Mapping[str, Mapping[str, Shown]]  # architecture -> backend

    @property
    def counts(self) -> dict[CameTo, int]:
        """How many architectures have what as the gravest of what is not past, or of all where everything is."""
        counting = ([shown for shown in row.values() if not shown.past] or row.values() for row in self.rows.values())
        gravest = (max((shown.latest.came_to for shown in row), key=_GRAVITY.index) for row in counting)
        found = Counter(gravest)
        return {came_to: found[came_to] for came_to in CameTo if found[came_to]}


_GRAVITY = (CameTo.REFUSED, CameTo.SUPPORTED, CameTo.MIXED, CameTo.WRONG)


@dataclass(frozen=True)
class Subject:
    """One architecture, backend, dtype and quantisation: what a question is answered with."""

    architecture: str
    backend: str
    dtype: str
    quantisation: str
    outcomes: tuple[Outcome | None, ...]  # by release
    spans: tuple[Interval[CameTo], ...]


def front_of(series: Iterable[Series], runs: Iterable[Published]) -> list[Measured]:
    """What the front shows, device by device, those of which most is known first."""
    names = {id(run.report): run.name for run in runs}
    facts = facts_of(run.report for run in runs)
    found = [
        _measured(number, one, names, facts)
        for number, one in enumerate(series, start=1)
        if one.library == "transformers"
    ]
    return sorted(found, key=lambda one: (not one.cuda, -one.types, -len(one.series.versions)))


def facts_of(reports: Iterable[Report]) -> dict[str, ArchitectureFacts]:
    """What each architecture is: as the newest report says that knows it, else as this suite does."""
    found = {
        name: ArchitectureFacts(
            kind=one.kind.value,
            family=one.family.value,
            traits=list(one.traits),
            model_type=one.model_type,
            auto_class=one.auto_class,
        )
        for name, one in load_architectures().items()
    }
    for report in sorted(reports, key=lambda report: report.run.started):
        for name, facts in report.run.architectures.items():
            # The suite's own have their traits only where the installed library was looked at.
            if facts.traits or name not in found or not found[name].traits:
                found[name] = facts
    return found


def front_json(measured: Sequence[Measured], facts: Mapping[str, ArchitectureFacts]) -> tuple[str, str]:
    """What the front asks with, and, read at the first question, what it answers from: values by number."""
    kept, causes = Numbered(), Numbered()
    architectures = sorted({subject.architecture for one in measured for subject in one.subjects})
    place = {name: number for number, name in enumerate(architectures)}
    asked = {
        "standings": [[came_to.value, LOOKS[came_to], MARKS[came_to]] for came_to in CameTo],
        "verdicts": [verdict.value for verdict in Verdict],
        "dtypes": [dtype.value for dtype in Dtype],
        "types": [_type(name, facts.get(name, ArchitectureFacts())) for name in architectures],
        "series": [
            {
                "label": one.label,
                "device": one.series.device,
                "versions": one.series.versions,
                "backends": _all_backends(one),
                "runs": one.runs,
            }
            for one in measured
        ],
    }
    subjects = [
        [
            [
                place[subject.architecture],
                kept.number(subject.backend),
                kept.number(subject.dtype),
                kept.number(subject.quantisation),
                kept.number(
                    [
                        _outcome(outcome, runs, kept, causes)
                        for outcome, runs in zip(subject.outcomes, one.runs, strict=True)
                    ]
                ),
                kept.number([_span(span) for span in subject.spans]),
            ]
            for subject in one.subjects
        ]
        for one in measured
    ]
    return safe_json(asked), safe_json({"subjects": subjects, "values": kept.values})


def _span(span: Interval[CameTo]) -> list[int]:
    return [list(CameTo).index(span.came_to), span.first, span.last, int(span.begins)]


def _type(name: str, facts: ArchitectureFacts) -> list[Any]:
    return [name, facts.model_type or name, facts.auto_class, facts.family, facts.kind, facts.traits]


def _all_backends(measured: Measured) -> list[str]:
    return [
        *measured.backends,
        *dict.fromkeys(s.backend for s in measured.subjects if s.backend not in measured.backends),
    ]


def _outcome(outcome: Outcome | None, runs: Sequence[str], kept: Numbered, causes: Numbered) -> int:
    if outcome is None:
        return 0
    troubles = [
        [
            list(State).index(trouble.state),
            list(Verdict).index(trouble.verdict),
            causes.number(trouble.cause),
            kept.number(_short(trouble.reason)),
            kept.number(trouble.fault or None),
            kept.number(trouble.url or None),
            kept.number(trouble.cell),
            runs.index(trouble.run),  # of its release, so that what other releases came to is the same value
            trouble.count,
        ]
        for trouble in outcome.troubles
    ]
    return kept.number([outcome.supported, outcome.refused, outcome.wrong, *map(kept.number, troubles)])


def _short(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"


def _measured(
    number: int, series: Series, names: Mapping[int, str], facts: Mapping[str, ArchitectureFacts]
) -> Measured:
    courses = _courses(series, names)
    records = [next(seen for seen in course if seen).record for course in courses]
    plain = [record for record in records if record.axes["transformation"] == SILENT["transformation"]]
    columns = axis_values(plain)["backend"]
    subjects: dict[tuple[str, str, str, str], list[_Course]] = {}
    shown: dict[tuple[str, str], list[_Course]] = {}
    for record, course in zip(records, courses, strict=True):
        architecture, backend = record.axes["architecture"], backend_of(record)
        quantisation = record.axes["quantisation"]
        subjects.setdefault((architecture, backend, record.axes["dtype"], quantisation), []).append(course)
        together = record.axes["device_map"] in _TOGETHER
        if quantisation == SILENT["quantisation"] and together and backend in columns:
            shown.setdefault((architecture, backend), []).append(course)
    return Measured(
        number=number,
        series=series,
        cuda=series.runs[0].run.stack.device is Device.CUDA,
        backends=_free_first(columns),
        groups=tuple(_groups(shown, facts, series.versions, columns)),
        told=tuple(sorted(_told(series), key=_came_or_went_first)),
        runs=tuple(
            tuple(names.get(id(run), "") for run in series.runs if run.run.stack.versions[series.library] == version)
            for version in series.versions
        ),
        subjects=tuple(
            Subject(*key, outcomes=_outcomes(of), spans=intervals([_states(course) for course in of], series.versions))
            for key, of in sorted(subjects.items(), key=lambda item: _in_order(item[0]))
        ),
    )


def _in_order(key: tuple[str, str, str, str]) -> tuple[object, ...]:
    architecture, backend, dtype, quantisation = key
    formats, dtypes = list(AXES["quantisation"].values), [one.value for one in Dtype]
    places = (
        values.index(one) if one in values else len(values)
        for values, one in ((formats, quantisation), (dtypes, dtype))
    )
    return architecture, *places, backend


def _courses(series: Series, names: Mapping[int, str]) -> list[_Course]:
    """By cell, what it came to in each release; of several runs of one release the worst counts, then the last."""
    by_cell: dict[str, _Course] = {}
    for report in series.runs:
        place = series.versions.index(report.run.stack.versions[series.library])
        for record in report.records:
            if record.verdict.executed:
                seen = Seen(state_of(record, report.run.stack.device), record, names.get(id(report), ""))
                course = by_cell.setdefault(record.cell, [None] * len(series.versions))
                before = course[place]
                if before is None or list(State).index(seen.state) >= list(State).index(before.state):
                    course[place] = seen
    return list(by_cell.values())


def _states(course: _Course) -> tuple[State | None, ...]:
    return tuple(None if seen is None else seen.state for seen in course)


def _outcomes(courses: Sequence[_Course]) -> tuple[Outcome | None, ...]:
    by_release = ([seen for seen in measured if seen] for measured in zip(*courses, strict=True))
    return tuple(outcome_of(cells) if cells else None for cells in by_release)


def _groups(
    shown: Mapping[tuple[str, str], Sequence[_Course]],
    facts: Mapping[str, ArchitectureFacts],
    versions: tuple[str, ...],
    columns: Sequence[str],
) -> Iterator[Rows]:
    """Those that were measured with most backends together, then the others by family."""
    rows: dict[str, dict[str, Shown]] = {}
    for (architecture, backend), courses in sorted(shown.items()):
        rows.setdefault(architecture, {})[backend] = _shown(courses, versions)
    most = max(map(len, rows.values()), default=0)
    by_title: dict[str, dict[str, dict[str, Shown]]] = {}
    for architecture, row in rows.items():
        family = facts[architecture].family if architecture in facts else ""
        title = _MOST if 2 * len(row) > most else family or "others"
        by_title.setdefault(title, {})[architecture] = row
    for title in sorted(by_title, key=lambda title: (title != _MOST, -len(by_title[title]))):
        group = by_title[title]
        yield Rows(
            title, _free_first(column for column in columns if any(column in row for row in group.values())), group
        )


_MOST = "measured with every backend"


def _free_first(backends: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(backends, key=is_pinned))


def is_pinned(backend: str) -> bool:
    """Whether a backend is one kernel of several."""
    return backend.endswith(")")


def _shown(courses: Sequence[_Course], versions: tuple[str, ...]) -> Shown:
    spans = intervals([_states(course) for course in courses], versions)
    today = [course[spans[-1].last] for course in courses]
    refused = spans[-1].came_to is not CameTo.REFUSED and any(seen and seen.state is State.REFUSED for seen in today)
    return Shown(spans, versions, refused)


def _told(series: Series) -> Iterator[Told]:
    for course in row_courses(series).values():
        latest = next(row for row in reversed(course) if row)
        looks = [None if row is None else row_came_to(row) for row in course]
        said = [None if row is None else (row.word, _refusal(row)) for row in course]
        steps = intervals_of_one(said, series.versions)
        told = tuple(_step(span, [row for row in course[span.first : span.last + 1] if row], series) for span in steps)
        yield Told(latest, intervals_of_one(looks, series.versions), told[::-1])


def row_courses(series: Series) -> dict[str, list[RowRecord | None]]:
    """By its key, what each reported failure and recipe came to in each release; None where it was not measured."""
    courses: dict[str, list[RowRecord | None]] = {}
    for report in series.runs:
        place = series.versions.index(report.run.stack.versions[series.library])
        for row in report.rows:
            if row.family in _OF_ROWS and row.outcome not in (RowOutcome.UNAVAILABLE, RowOutcome.MISSING):
                course = courses.setdefault(row.key, [None] * len(series.versions))
                before = course[place]
                if before is None or row.outcome is RowOutcome.VIOLATED:
                    course[place] = row
    return courses


def row_came_to(row: RowRecord) -> CameTo:
    """What a row came to in the words of the front."""
    return _ROW_LOOKS.get(row.outcome, CameTo.WRONG)


def _refusal(row: RowRecord) -> str:
    """The words of a refusal, whatever the numbers in it."""
    return _NUMBER.sub("#", row.reason) if row.outcome is RowOutcome.REFUSED else ""


def _step(span: Interval[tuple[str, str]], rows: Sequence[RowRecord], series: Series) -> Step:
    newest = rows[-1]
    words = f"{newest.word} {span_words(span, series.versions)}"
    return Step(row_came_to(newest), words, _short(newest.reason))


def _came_or_went_first(told: Told) -> tuple[object, ...]:
    return told.row.family is not Family.REGRESSION, len(told.spans) < 2, -_GRAVITY.index(told.latest), told.row.name
