"""Every minor release is measured once; what cannot be is said, and tried again by the same command."""

import contextlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from conformance.upgrade import sweep as sweeping
from conformance.upgrade.choices import How
from conformance.upgrade.environments import Environment
from conformance.upgrade.sweep import Range, sweep
from matrix.errors import UsageError
from matrix.releases import Pin, parse_companions, parse_range
from matrix.rows import RowOutcome
from matrix.verdict import Verdict
from reports.document import Report, make_report
from reports.reading import read_report
from reports.runs import collect
from reports.write import write_json
from tests.builders import ended
from tests.conformance.upgrade.world import CELL, World, report_of, right_but

AVAILABLE = [Version(text) for text in ("4.48.2", "4.48.3", "4.49.0", "5.0.0", "5.0.1", "5.1.0")]
PROPERTY = "property:a-property"
LAST = ["4.48.3", "4.49.0", "5.0.1"]


@pytest.fixture(autouse=True)
def _signals_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "heed_signals", lambda told: None)


class Sweeping:
    """A world in which a sweep goes on."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
        self.world, self.folder, self.said, self.measured = world, folder, list[str](), list[str]()
        self.names = names or (CELL,)
        world.here = {"torch": "2.13.0"}
        monkeypatch.setattr(sweeping, "releases_of", lambda *given: AVAILABLE)
        monkeypatch.setattr(sweeping, "Current", lambda: self.world.place())
        monkeypatch.setattr(sweeping, "build", self._build)
        monkeypatch.setattr(sweeping, "measure", self._measure)
        monkeypatch.setattr(sweeping, "check_versions", lambda *given: None)

    def _build(self, pins: Sequence[Pin], folder: Path, *given: Any) -> Environment:
        folder.mkdir(parents=True, exist_ok=True)
        return self.world.build(pins)

    def _measure(self, environment: Environment, folder: Path, arguments: Sequence[str], **more: Any) -> Report:
        versions = environment.versions()
        self.measured.append(versions["transformers"])
        report = report_of({name: self.world.seen(versions, name) for name in self.names}, versions)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(report, folder)
        return report

    def of(self, **more: Any) -> bool:
        wanted = Range(parse_range("transformers>=4.48,<5.1"), report_dir=self.folder, **more)
        return sweep(wanted, self.said.append)


def test_the_last_patch_of_every_minor_is_measured_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    assert sweep.of(arguments=("--profile=guide",))
    assert sweep.measured == LAST
    found = collect(tmp_path, tmp_path / "site")
    assert [run.report.run.stack.versions["transformers"] for run in found.runs] == LAST
    assert "3 of 3 releases of transformers measured" in sweep.said
    assert not any((tmp_path / "environments").iterdir())


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    sweep.world.broken = (Pin("transformers", "4.49.0"),)
    assert not sweep.of()
    assert (
        "not measured: transformers==4.49.0: transformers==4.49.0 cannot be installed: no matching distribution"
        in sweep.said
    )
    sweep.world.broken = ()
    assert sweep.of()
    assert sweep.measured == ["4.48.3", "5.0.1", "4.49.0"]


def test_other_arguments_are_refused_where_something_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    sweep.of(arguments=("--profile=guide",))
    with pytest.raises(UsageError, match="what pytest was asked for was --profile=guide, is --profile=smoke"):
        sweep.of(arguments=("--profile=smoke",))


def test_a_release_in_which_nothing_runs_has_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(versions: Any) -> Verdict | None:
        return Verdict.ERROR if versions["transformers"] == "4.49.0" else None

    sweep = Sweeping(World(right_but(CELL, wrong)), monkeypatch, tmp_path)
    assert not sweep.of()
    assert "not measured: transformers==4.49.0: nothing runs there" in sweep.said
    assert len(collect(tmp_path, tmp_path / "site").runs) == 2


def test_a_property_that_holds_does_not_say_that_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(versions: Mapping[str, str], name: str) -> Verdict | RowOutcome:
        if name == PROPERTY:
            return RowOutcome.HOLDS
        return Verdict.ERROR if versions["transformers"] == "4.49.0" else Verdict.SUPPORTED

    sweep = Sweeping(World(seen), monkeypatch, tmp_path, CELL, PROPERTY)
    assert not sweep.of()
    assert "not measured: transformers==4.49.0: nothing runs there" in sweep.said
    assert len(collect(tmp_path, tmp_path / "site").runs) == 2


@pytest.mark.parametrize("ending", [UsageError("the run was cut off: SIGINT"), KeyboardInterrupt()], ids=str)
def test_a_run_that_was_cut_off_is_not_published_and_goes_on_from_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: BaseException
) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    whole = sweep._measure

    def cut_off(environment: Environment, folder: Path, arguments: Sequence[str], **more: Any) -> Report:
        report = whole(environment, folder, arguments)
        if environment.versions()["transformers"] == "4.49.0":
            write_json(make_report(report.run, [], end=ended("the run was cut off: SIGINT")), folder)
            (folder / "records.jsonl").touch()
            raise ending
        return report

    monkeypatch.setattr(sweeping, "measure", cut_off)
    with contextlib.suppress(UsageError):
        assert not sweep.of()
    run = tmp_path / "transformers-4.49.0"
    assert (run / "records.jsonl").is_file()
    assert not (run / "matrix.json").exists()
    assert not any(run.report.cut_off for run in collect(tmp_path, tmp_path / "site").runs)


def test_what_goes_with_a_part_of_the_range_is_installed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    sweep.of(companions=(parse_companions("transformers<4.49: peft==0.15.2"),))
    peft = Pin("peft", "0.15.2")
    assert [peft in pins for pins in sweep.world.built] == [True, False, False]


def test_other_companions_have_a_release_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    sweep.of()
    (tmp_path / "transformers-4.48.3" / "records.jsonl").touch()  # of the run before
    sweep.of(companions=(parse_companions("transformers<4.49: peft==0.15.2"),))
    assert sweep.measured == [*LAST, "4.48.3"]
    run = read_report(tmp_path / "transformers-4.48.3").run
    assert run.stack.versions["peft"] == "0.15.2"
    assert not (tmp_path / "transformers-4.48.3" / "records.jsonl").exists()
    sweep.of(companions=(parse_companions("transformers<4.49: peft==0.15.2"),))
    assert len(sweep.measured) == len(LAST) + 1


def test_a_finished_report_of_another_stack_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    sweep.of()
    run = tmp_path / "transformers-5.0.1"
    write_json(report_of({CELL: Verdict.SUPPORTED}, {"transformers": "5.0.1", "torch": "2.0"}), run)
    sweep.of()
    assert sweep.measured == [*LAST, "5.0.1"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"how": How.PIP}, "--how was overlay, is pip"),
        ({"find_links": Path("/wheels")}, "--find-links was nothing, is /wheels"),
    ],
)
def test_environments_made_otherwise_are_refused_where_something_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], told: str
) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    sweep.of()
    with pytest.raises(UsageError, match=told):
        sweep.of(**more)


def test_another_torch_or_python_is_refused_where_something_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    sweep.of()
    with monkeypatch.context() as patch:
        patch.setattr(platform, "python_version", lambda: "3.99.0")
        with pytest.raises(UsageError, match=r"Python was 3\.\d+\.\d+, is 3\.99\.0"):
            sweep.of()
    sweep.world.here = {"torch": "2.14.0"}
    with pytest.raises(UsageError, match=r"the current stack was torch 2\.13\.0, is torch 2\.14\.0"):
        sweep.of()


def test_a_folder_of_an_upgrade_is_not_taken_for_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweeping(World(right_but(CELL, lambda versions: None)), monkeypatch, tmp_path)
    (tmp_path / "upgrade.json").write_text('{"command": "upgrade"}', encoding="utf-8")
    with pytest.raises(UsageError, match="holds something else: command was upgrade, is upgrade --sweep"):
        sweep.of()
    assert (tmp_path / "upgrade.json").read_text(encoding="utf-8") == '{"command": "upgrade"}'


def test_a_range_without_a_release_is_refused_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "releases_of", lambda *given: AVAILABLE)
    with pytest.raises(UsageError, match=r"--sweep transformers>=9: none of the 6 releases, 4.48.2 to 5.1.0, is in"):
        sweep(Range(parse_range("transformers>=9"), report_dir=tmp_path), lambda line: None)
