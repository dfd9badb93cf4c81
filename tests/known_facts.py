"""Known facts of releases beside the measured intervals: `python -m tests.known_facts [FOLDER]`.

The facts are those of known_facts.toml. Nothing measured is told what to find: each is held against what the runs of a
folder, `reports/published` unless one is named, came to release by release. Ends with 1 where one is contradicted.
"""

import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from matrix.rows import RowOutcome
from matrix.stack import Device
from reports.document import RowRecord
from reports.front import row_courses
from reports.intervals import interval_words, intervals_of_one
from reports.runs import collect
from reports.support import Series, all_series

_FACTS = Path(__file__).with_name("known_facts.toml")
_PUBLISHED = Path(__file__).parent.parent / "reports" / "published"


@dataclass(frozen=True)
class Fact:
    """What a row is known to come to in some releases, and not in others."""

    about: str
    row: str
    outcome: RowOutcome
    so: SpecifierSet
    not_so: SpecifierSet
    says: str = ""  # a regular expression that the row's reason must hold
    device: Device | None = None  # of which it is known; None for any


class Answer(StrEnum):
    """What measuring says of a fact."""

    SHOWN = "shown"  # there are releases in which it must be so, and in which it must not, and so it is
    ONE_SIDE = "agrees as far as measured"  # only one of the two was measured
    CONTRADICTED = "contradicted"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Beside:
    """A fact, and what was measured of it on one device."""

    fact: Fact
    device: str
    answer: Answer
    words: str  # the measured intervals


def read_facts(path: Path = _FACTS) -> list[Fact]:
    """All known facts."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["fact"]
    return [
        Fact(
            about=table["about"],
            row=table["row"],
            outcome=RowOutcome(table["outcome"]),
            so=SpecifierSet(table["so"], prereleases=True),
            not_so=SpecifierSet(table["not_so"], prereleases=True),
            says=table.get("says", ""),
            device=Device(table["device"]) if "device" in table else None,
        )
        for table in tables
    ]


def beside(facts: Iterable[Fact], series: Iterable[Series]) -> Iterator[Beside]:
    """Each fact beside what each device says of it; once, as not measured, where none does."""
    measured = [one for one in series if one.library == "transformers"]
    for fact in facts:
        found = [one for one in (_measured(fact, series) for series in measured) if one is not None]
        yield from found or [Beside(fact, "", Answer.UNMEASURED, "")]


def _measured(fact: Fact, series: Series) -> Beside | None:
    if fact.device not in (None, series.runs[0].run.stack.device):
        return None
    course = row_courses(series).get(fact.row)
    if course is None:
        return None
    seen = [None if row is None else _is_so(fact, row) for row in course]
    spans = intervals_of_one([None if so is None else "so" if so else "not so" for so in seen], series.versions)
    by_release = {version: so for version, so in zip(series.versions, seen, strict=True) if so is not None}
    must = {version: so for version, so in by_release.items() if _within(version, fact.so)}
    must_not = {version: so for version, so in by_release.items() if _within(version, fact.not_so)}
    if not all(must.values()) or any(must_not.values()):
        answer = Answer.CONTRADICTED
    elif must and must_not:
        answer = Answer.SHOWN
    else:
        answer = Answer.ONE_SIDE if must or must_not else Answer.UNMEASURED
    return Beside(fact, series.device, answer, interval_words(spans, series.versions))


def _is_so(fact: Fact, row: RowRecord) -> bool:
    return row.outcome is fact.outcome and re.search(fact.says, row.reason) is not None


def _within(version: str, releases: SpecifierSet) -> bool:
    try:
        return Version(version) in releases
    except InvalidVersion:
        return False


def main(folder: Path) -> int:
    """Print each fact beside its measured intervals; 1 where one is contradicted."""
    with tempfile.TemporaryDirectory() as site:
        runs = collect(folder, Path(site)).runs
    found = list(beside(read_facts(), all_series(run.report for run in runs)))
    for one in found:
        print(f"{one.answer.upper()}: {one.fact.about}")
        if one.words:
            print(f"    {one.device}, {one.fact.row}: {one.words}")
    shown = {one.fact.about for one in found if one.answer is Answer.SHOWN}
    contradicted = {one.fact.about for one in found if one.answer is Answer.CONTRADICTED}
    print(f"{len(read_facts())} facts: {len(shown)} shown, {len(contradicted)} contradicted")
    return 1 if contradicted else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else _PUBLISHED))
