"""In which release something began: of cells, of rows, of a probe; and what cannot be told is said to be."""

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from conformance.upgrade.bisect import began_lines, of_names, of_probe
from conformance.upgrade.environments import Environment
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.observation import Ending
from matrix.releases import Pin, companions_of, parse_companions
from matrix.rows import RowOutcome
from matrix.verdict import Verdict
from reports.document import Report
from tests.builders import REFUSAL, completed, record_of
from tests.conformance.upgrade.world import CELL, CONTROL, OTHER, ROW, World, nothing_runs, report_of, right_but
from tests.wheels import make_wheel

RELEASES = [Pin("transformers", f"5.{minor}.0") for minor in range(10)]


def alone(pin: Pin) -> tuple[Pin, ...]:
    return (pin,)


def since(minor: int) -> World:
    return World(right_but(CELL, lambda versions: Verdict.ERROR if minor_of(versions) >= minor else None))


def minor_of(versions: object) -> int:
    return Version(versions["transformers"]).minor  # type: ignore[index]


def test_the_first_release_is_found_and_what_was_tried_is_told(tmp_path: Path) -> None:
    world = since(7)
    began = of_names([CELL], RELEASES, world.trials(tmp_path, CELL), alone)
    ((step),) = began.course.steps
    assert (step.last, step.first, step.unknown) == (RELEASES[6], RELEASES[7], ())
    told = list(began_lines(began))
    assert told[0] == f"{CELL}: since transformers==5.7.0: error (in 5.6.0: supported)"
    assert told[1:] == [
        "    5.0.0, 5.4.0, 5.6.0: supported",
        "    5.7.0, 5.9.0: error",
        "    tried 5: 5.9.0, 5.0.0, 5.4.0, 5.6.0, 5.7.0",
    ]
    assert len(world.built) == 5


def test_every_step_on_the_way_is_told(tmp_path: Path) -> None:
    def wrong(versions: Mapping[str, str]) -> Verdict:
        eras = [(2, Verdict.UNAVAILABLE), (6, Verdict.INACCURATE), (20, Verdict.REFUSED)]
        return next(verdict for end, verdict in eras if minor_of(versions) < end)

    began = of_names([CELL], RELEASES, World(right_but(CELL, wrong)).trials(tmp_path, CELL), alone)
    assert list(began_lines(began))[:2] == [
        f"{CELL}: since transformers==5.2.0: inaccurate (in 5.1.0: unavailable)",
        f"{CELL}: since transformers==5.6.0: refused (in 5.5.0: inaccurate)",
    ]


def test_releases_that_cannot_be_installed_are_between_those_that_can(tmp_path: Path) -> None:
    world = since(5)
    world.broken = (RELEASES[4], RELEASES[5], RELEASES[0])
    began = of_names([CELL], RELEASES, world.trials(tmp_path, CELL), alone)
    told = list(began_lines(began))
    assert told[0] == (
        f"{CELL}: since transformers==5.6.0 at the latest: error "
        "(in 5.3.0: supported; of 5.4.0, 5.5.0 nothing can be told)"
    )
    assert f"    5.4.0: {RELEASES[4]} cannot be installed: no matching distribution" in told


def test_what_is_the_same_at_both_ends_began_nowhere(tmp_path: Path) -> None:
    world = since(20)
    began = of_names([CELL], RELEASES, world.trials(tmp_path, CELL), alone)
    assert began.course.steps == ()
    assert next(began_lines(began)) == f"{CELL}: the same in transformers 5.0.0 and 5.9.0: supported"
    assert len(world.built) == 2


def test_what_stands_alike_is_looked_at_more_closely(tmp_path: Path) -> None:
    class Worded(World):
        def measure(self, environment: Environment, folder: Path, arguments: Sequence[str]) -> Report:
            told = "no heads" if minor_of(environment.versions()) < 4 else "shapes differ"
            failure = replace(REFUSAL, message=told)
            seen = completed(parse_cell(CELL), ending=Ending.RAISED, failure=failure)
            record = record_of(CELL, Verdict.ERROR, told, observation=seen)
            report = report_of({CONTROL: Verdict.SUPPORTED})
            return report.model_copy(update={"records": [*report.records, record]})

    began = of_names([CELL], RELEASES, Worded(right_but(CELL, lambda versions: None)).trials(tmp_path, CELL), alone)
    assert [(step.last, step.first) for step in began.course.steps] == [(RELEASES[3], RELEASES[4])]


def test_where_nothing_runs_nothing_can_be_told(tmp_path: Path) -> None:
    began = of_names([CELL], RELEASES, World(nothing_runs).trials(tmp_path, CELL), alone)
    assert next(began_lines(began)) == f"{CELL}: nothing can be told of any release of transformers"
    assert len(began.course.asked) == len(RELEASES)


def test_what_goes_with_a_part_of_the_range_is_installed_with_it(tmp_path: Path) -> None:
    world = since(3)
    said = [parse_companions("transformers<5.2: peft==0.15")]
    of_names([CELL], RELEASES, world.trials(tmp_path, CELL), lambda pin: (pin, *companions_of(pin, said)))
    for pins in world.built:
        (release,) = (pin for pin in pins if pin.name == "transformers")
        assert (Pin("peft", "0.15") in pins) == (minor_of({"transformers": release.version}) < 2)


def test_rows_are_found_as_cells_are_and_several_may_speak_for_one_symptom(tmp_path: Path) -> None:
    refused = right_but(ROW, lambda versions: RowOutcome.REFUSED if minor_of(versions) >= 2 else None)
    began = of_names([ROW], RELEASES, World(refused).trials(tmp_path, ROW), alone)
    assert [step.first for step in began.course.steps] == [RELEASES[2]]

    def wrong(versions: Mapping[str, str], name: str) -> Verdict:
        return Verdict.ERROR if name in (CELL, OTHER) and minor_of(versions) > 3 else Verdict.SUPPORTED

    began = of_names([CELL, OTHER], RELEASES, World(wrong).trials(tmp_path / "both", CELL, OTHER), alone)
    assert next(began_lines(began)).startswith(f"{CELL} and 1 more: since transformers==5.4.0: error")


@pytest.mark.parametrize(
    ("status", "said"),
    [(0, "passes: it is so"), (1, "fails: it is so"), (2, "ends with 2: it is so"), (125, "ends with 125: it is so")],
)
def test_a_probe_answers_by_how_it_ends(tmp_path: Path, status: int, said: str) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(f"import sys\nprint('first')\nprint('it is so')\nsys.exit({status})\n", encoding="utf-8")
    thing = Pin("thing", "1.0")
    began = of_probe(probe, [thing], lambda pins: Environment(Path(sys.executable)), alone)
    assert began.said == {thing: said}
    assert (began.course.seen[0][1] is None) == (status > 1)


def test_a_probe_runs_in_the_environment_of_each_release(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("import sys, thing\nsys.exit(thing.__version__ >= '5.6')\n", encoding="utf-8")
    releases = [Pin("thing", pin.version) for pin in RELEASES]
    began = of_probe(probe, releases, things(tmp_path, missing=releases[4]), alone)
    assert next(began_lines(began)) == "probe.py: since thing==5.6.0: fails (in 5.5.0: passes)"
    assert began.said[releases[4]] == "no such wheel"


def test_of_a_release_that_cannot_be_imported_a_probe_says_nothing(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("import sys, thing\nsys.exit(thing.__version__ >= '1.3')\n", encoding="utf-8")
    releases = [Pin("thing", f"1.{minor}") for minor in range(5)]
    environment = things(tmp_path)
    for broken in releases[1:3]:
        overlay = environment([broken]).overlay
        assert overlay is not None
        (overlay / "thing" / "__init__.py").write_text("raise ImportError('no torch')\n", encoding="utf-8")
    began = of_probe(probe, releases, environment, alone)
    assert next(began_lines(began)) == (
        "probe.py: since thing==1.3 at the latest: fails (in 1.0: passes; of 1.1, 1.2 nothing can be told)"
    )
    assert began.said[releases[2]] == "thing cannot be imported: ImportError: no torch"


def things(folder: Path, missing: Pin | None = None) -> Callable[[Iterable[Pin]], Environment]:
    """Environments with a release of thing, but for one that is not there."""

    def environment(pins: Iterable[Pin]) -> Environment:
        (pin,) = pins
        if pin == missing:
            raise UsageError("no such wheel")
        overlay = folder / pin.version
        if not overlay.exists():
            shutil.unpack_archive(make_wheel(folder / "wheels", pin.name, pin.version), overlay, "zip")
        return Environment(Path(sys.executable), overlay)

    return environment


def test_a_probe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--probe .*nothing.py: no such file"):
        of_probe(tmp_path / "nothing.py", RELEASES, lambda pins: Environment(Path(sys.executable)), alone)
