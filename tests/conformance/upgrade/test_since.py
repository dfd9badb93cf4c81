"""`python -m matrix bisect`: what is asked for is checked before anything is built, and a folder of wheels suffices."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from conformance.upgrade import since
from conformance.upgrade.choices import How
from conformance.upgrade.environments import Environment
from conformance.upgrade.since import Sought, bisected, names_of
from conformance.upgrade.trials import Trials
from matrix.errors import UsageError
from matrix.releases import Pin, parse_range
from matrix.verdict import Verdict
from tests.conformance.upgrade.world import CELL, OTHER, World, right_but
from tests.wheels import make_wheel


@pytest.fixture(autouse=True)
def _signals_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(since, "heed_signals", lambda told: None)


def unpacked(pins: Sequence[Pin], folder: Path, how: How, find_links: Path, base: Environment) -> Environment:
    """What an installer makes of a wheel, in a moment."""
    (pin,) = pins
    with zipfile.ZipFile(find_links / f"{pin.name.replace('-', '_')}-{pin.version}-py3-none-any.whl") as content:
        (metadata,) = (name for name in content.namelist() if name.endswith("METADATA"))
        if "no-such-thing" in content.read(metadata).decode():
            raise UsageError(f"{pin} cannot be installed: no matching distribution found for no-such-thing")
        content.extractall(folder / pin.version)
    return replace(base, overlay=folder / pin.version)


def test_a_probe_over_a_folder_of_wheels_finds_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(since, "build", unpacked)
    for version in ("1.0", "1.1", "2.0"):
        make_wheel(tmp_path / "wheels", "paint-pot", version)
    make_wheel(tmp_path / "wheels", "paint-pot", "1.2", needs=["no-such-thing"])
    probe = tmp_path / "probe.py"
    probe.write_text("import sys, paint_pot\nsys.exit(paint_pot.__version__ > '1.9')\n", encoding="utf-8")
    said: list[str] = []
    wanted = Sought(
        parse_range("paint-pot>=1"), probe=probe, find_links=tmp_path / "wheels", report_dir=tmp_path / "out"
    )
    assert bisected(wanted, said.append)
    (step,) = [line for line in said if line.startswith("probe.py")]
    assert step == "probe.py: since paint-pot==2.0 at the latest: fails (in 1.1: passes; of 1.2 nothing can be told)"
    assert any("1.2: " in line and "no-such-thing" in line for line in said)


def in_a_world(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(since, "releases_of", lambda *given: [Version(f"5.{minor}.0") for minor in range(10)])
    patch.setattr(since, "build", lambda pins, *given: world.build(pins))
    patch.setattr(since, "measure", world.measure)
    patch.setattr(since, "hints_of", lambda *given: ())
    patch.setattr(Trials, "refuse_unknown", lambda *given: None)


def sought(folder: Path, *names: str, **more: Any) -> Sought:
    return Sought(parse_range("transformers>=5,<5.8"), names, report_dir=folder, **more)


def test_each_name_has_its_own_release_and_all_of_them_share_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(versions: Any, name: str) -> Verdict:
        since = {CELL: 3, OTHER: 6}.get(name, 100)
        return Verdict.ERROR if Version(versions["transformers"]).minor >= since else Verdict.SUPPORTED

    world, said = World(seen), list[str]()
    in_a_world(world, monkeypatch)
    assert bisected(sought(tmp_path, CELL, OTHER), said.append)
    assert f"{CELL}: since transformers==5.3.0: error (in 5.2.0: supported)" in said
    assert f"{OTHER}: since transformers==5.6.0: error (in 5.5.0: supported)" in said
    assert len(set(world.built)) == len(world.built)


def test_what_never_changed_is_no_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_world(World(right_but(CELL, lambda versions: None)), monkeypatch)
    assert not bisected(sought(tmp_path, CELL), lambda line: None)


def test_one_thing_is_sought_in_two_releases_or_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_world(World(right_but(CELL, lambda versions: None)), monkeypatch)
    for wanted in (sought(tmp_path), sought(tmp_path, CELL, probe=tmp_path)):
        with pytest.raises(UsageError, match="bisect: say what is sought: --cell ID, --row KEY, or --probe FILE alone"):
            bisected(wanted, lambda line: None)
    with pytest.raises(UsageError, match=r"transformers>=7: 0 of the 10 releases, from 5\.0\.0 to 5\.9\.0"):
        bisected(Sought(parse_range("transformers>=7"), (CELL,), report_dir=tmp_path), lambda line: None)


def test_a_row_is_named_with_its_family() -> None:
    assert names_of([CELL], ["guide:G1-a-guide"]) == (CELL, "guide:G1-a-guide")
    with pytest.raises(UsageError, match="--row G1-a-guide: must be family:name"):
        names_of([], ["G1-a-guide"])
