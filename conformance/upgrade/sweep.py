"""`python -m matrix upgrade --sweep`: one plan over the last patch of every minor release of a package."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from conformance.plugin.guarding import heed_signals
from conformance.plugin.settings import REPORTS
from conformance.upgrade.choices import How
from conformance.upgrade.environments import Current, Environment, build
from conformance.upgrade.ground import facts_of
from conformance.upgrade.index import releases_of
from conformance.upgrade.sides import GO_ON, Say, check_versions, finished, measure, refuse_own
from conformance.upgrade.state import Workplace
from matrix.errors import UsageError
from matrix.releases import Companions, Pin, companions_of, last_of_each_minor
from matrix.rows import Family, RowOutcome
from matrix.stack import DISTRIBUTIONS
from matrix.verdict import Verdict
from reports.document import Report
from reports.files import forget_report
from reports.text import headline

_RELEASES = "releases.txt"  # beside a run: what it was, or is to be, measured with


@dataclass(frozen=True)
class Range:
    """What was asked for."""

    of: Requirement
    companions: tuple[Companions, ...] = ()
    arguments: tuple[str, ...] = ()  # of pytest
    how: How = How.AUTO
    find_links: Path | None = None
    report_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """Where a report of each release goes."""
        return self.report_dir or REPORTS / f"sweep-{self.of.name}"


def sweep(wanted: Range, say: Say) -> bool:
    """Measure every minor release, each in a folder of its own, and say whether all of them ran.

    What is measured is kept and not measured again; a release that does not install or in which nothing runs is said to
    be, has no report, and is tried again by the same command.

    Raises:
        UsageError: there is no release in the range, an argument would end every run, or it was interrupted.
    """
    refuse_own(wanted.arguments)
    current = Current()
    available = releases_of(wanted.of.name, current.python, wanted.find_links)
    releases = [Pin(wanted.of.name, str(one)) for one in last_of_each_minor(available, wanted.of.specifier)]
    if not releases:
        known = f"{available[0]} to {available[-1]}"
        raise UsageError(f"--sweep {wanted.of}: none of the {len(available)} releases, {known}, is in that range")
    workplace = Workplace(wanted.folder)
    heed_signals(lambda name: None)
    try:
        workplace.claim(
            _facts(wanted, current), measured=any(finished(workplace.folder / _named(pin)) for pin in releases)
        )
        failed = {pin: why for pin in releases if (why := _swept(pin, wanted, current, workplace, say))}
    except KeyboardInterrupt:
        raise UsageError(f"interrupted; {GO_ON} with what is in {wanted.folder}") from None
    finally:
        workplace.close()
    say(f"{len(releases) - len(failed)} of {len(releases)} releases of {wanted.of.name} measured")
    for pin, why in failed.items():
        say(f"not measured: {pin}: {why}")
    say(f"python -m reports publish {wanted.folder} -o site   makes the site of them")
    return not failed


def _facts(wanted: Range, current: Environment) -> dict[str, str]:
    of_all = facts_of(wanted.arguments, current.versions(), wanted.how.for_many, wanted.find_links)
    return {"command": "upgrade --sweep", "--sweep of": wanted.of.name, **of_all}


def _named(pin: Pin) -> str:
    return f"{pin.name}-{pin.version}"


def _swept(pin: Pin, wanted: Range, current: Environment, workplace: Workplace, say: Say) -> str:
    """Measure one release; why that could not be, or empty."""
    place, run = workplace.folder / "environments" / _named(pin), workplace.folder / _named(pin)
    pins = (pin, *companions_of(pin, wanted.companions))
    try:
        report = _kept(pins, run) or _measured(pins, wanted, current, workplace, say)
    except UsageError as error:
        say(f"{pin}: {error}")
        return str(error)
    if not any(_is_right(report)):
        forget_report(run)  # it would be published as if each of its cells were wrong there
        say(f"{pin}: nothing runs there")
        return "nothing runs there"
    shutil.rmtree(place, ignore_errors=True)  # the environments of many releases fill a disk
    say(f"{', '.join(map(str, pins))}: {headline(report)}")
    return ""


def _kept(pins: Sequence[Pin], run: Path) -> Report | None:
    """The report of a run that reached its end with these releases."""
    report = finished(run)
    if report is None or _releases_in(run) != _releases(pins, report.run.stack.versions):
        return None
    return report


def _measured(pins: Sequence[Pin], wanted: Range, current: Environment, workplace: Workplace, say: Say) -> Report:
    name = _named(pins[0])
    run = workplace.folder / name
    place = workplace.folder / "environments" / name
    environment = build(pins, place, wanted.how.for_many, wanted.find_links, current)
    releases = _releases(pins, environment.versions())
    if _releases_in(run) != releases or finished(run) is not None:
        shutil.rmtree(run, ignore_errors=True)  # of others, which cannot be gone on with
    workplace.write(f"{name}/{_RELEASES}", releases)
    try:
        report = measure(environment, run, wanted.arguments, say=lambda line: say(f"{pins[0]}: {line}"))
    except (UsageError, KeyboardInterrupt):
        forget_report(run)  # a part would be published as the whole; the records are left, and gone on with
        raise
    check_versions(report, environment.versions(), str(pins[0]))
    return report


def _releases(pins: Sequence[Pin], versions: Mapping[str, str]) -> str:
    """What was asked for, then all of the stack, each on a line."""
    stack = [f"{name}=={versions[name]}" for name in DISTRIBUTIONS if name in versions]
    return "\n".join([" ".join(map(str, pins)), *stack]) + "\n"


def _releases_in(run: Path) -> str:
    file = run / _RELEASES
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _is_right(report: Report) -> Iterator[bool]:
    """Of each cell and row whether something ran and was right; what needs none of the libraries says nothing."""
    yield from (record.verdict is Verdict.SUPPORTED for record in report.records)
    yield from (row.outcome is RowOutcome.HOLDS for row in report.rows if row.family is not Family.PROPERTY)
