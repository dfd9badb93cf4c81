"""`python -m matrix bisect`: since which release of a package a cell, a row or a probe is what it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement

from conformance.plugin.guarding import heed_signals
from conformance.plugin.recording import commit_of_suite
from conformance.plugin.settings import REPORTS
from conformance.upgrade.bisect import Began, began_lines, of_names, of_probe
from conformance.upgrade.choices import How
from conformance.upgrade.environments import Current, Environment, build, name_of
from conformance.upgrade.index import releases_of
from conformance.upgrade.inquiry import hints_of
from conformance.upgrade.sides import GO_ON, Say, measure, refuse_own
from conformance.upgrade.state import Workplace
from conformance.upgrade.trials import Trials
from matrix.errors import UsageError
from matrix.releases import Companions, Pin, companions_of, in_range


@dataclass(frozen=True)
class Sought:
    """What was asked for."""

    of: Requirement  # the package, and the range of its releases
    names: tuple[str, ...] = ()  # cells and rows
    probe: Path | None = None
    companions: tuple[Companions, ...] = ()
    arguments: tuple[str, ...] = ()  # of pytest
    how: How = How.AUTO
    find_links: Path | None = None
    report_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """Where environments and runs are kept."""
        return self.report_dir or REPORTS / f"bisect-{self.of.name}"


def bisected(sought: Sought, say: Say) -> bool:
    """Say since which releases it is so, and whether there is a step in all that was asked for.

    Raises:
        UsageError: nothing is asked for, a cell or row is unknown, there are no two releases, or it was interrupted.
    """
    if bool(sought.names) is (sought.probe is not None):
        raise UsageError("bisect: say what is sought: --cell ID, --row KEY, or --probe FILE alone")
    refuse_own(sought.arguments)
    workplace = Workplace(sought.folder)
    heed_signals(lambda name: None)
    current = Current()
    try:
        releases = _releases(sought, current)
        say(f"{len(releases)} releases, from {releases[0]} to {releases[-1]}")

        def environment(pins: Sequence[Pin]) -> Environment:
            return build(pins, workplace.folder / "environments", sought.how.for_many, sought.find_links, current)

        def with_others(pin: Pin) -> Sequence[Pin]:
            return pin, *companions_of(pin, sought.companions)

        ground = [commit_of_suite(), name_of((), sought.how.for_many, sought.find_links, current)]
        place = workplace.folder / "trials"
        trials = Trials(sought.names, place, environment, measure, sought.arguments, ground=ground, say=say)
        found: list[Began] = []
        if sought.probe is not None:
            found.append(of_probe(sought.probe, releases, trials.environment, with_others))
        else:
            trials.refuse_unknown(current)
        for name in trials.names:
            began = of_names([name], releases, trials, with_others)
            found.append(replace(began, hints=hints_of(began, [name], trials, with_others)))
        for line in (line for began in found for line in began_lines(began)):
            say(line)
        return all(began.course.steps for began in found)
    except KeyboardInterrupt:
        raise UsageError(f"interrupted; {GO_ON} with what is in {sought.folder}") from None
    finally:
        workplace.close()


def _releases(sought: Sought, current: Environment) -> list[Pin]:
    available = releases_of(sought.of.name, current.python, sought.find_links)
    found = in_range(available, sought.of.specifier)
    if len(found) < 2:
        known = f"from {available[0]} to {available[-1]}"
        raise UsageError(f"{sought.of}: {len(found)} of the {len(available)} releases, {known}; name two or more")
    return [Pin(sought.of.name, str(release)) for release in found]


def names_of(cells: Iterable[str], rows: Iterable[str]) -> tuple[str, ...]:
    """Cells and rows by name.

    Raises:
        UsageError: a row is none by its form.
    """
    rows = tuple(rows)
    for row in rows:
        if ":" not in row:
            raise UsageError(f"--row {row}: must be family:name, as in guide:G7-bettertransformer_vit-guide")
    return *cells, *rows
