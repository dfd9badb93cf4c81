"""The two halves of each room hold together, and its tests are where one looks for them."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from conformance.rooms import doing, half
from matrix.cell import AXES, parse_cell
from matrix.plan import load_profiles
from matrix.rooms import Room, Workload
from matrix.selection import parse_selection
from tests.builders import ARCHITECTURES, ROOT, plan

ROOMS = [room for axis in AXES.values() for room in axis.values.values() if isinstance(room, Room)]
PACKAGES = sorted({room.package for room in ROOMS})


def files_of(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")} - {"__init__"}


@cache
def tried(profile: str, axis: str) -> frozenset[object]:
    """The values of an axis that a plan holds."""
    return frozenset(getattr(cell, axis) for cell in plan(profile))


def loose_ends(package: str, rooms: Iterable[Room], root: Path = ROOT) -> list[str]:
    """Rooms without a half, halves without a room, rooms without a test."""
    halves = {room.half for room in rooms if room.package == package}
    done, tested = files_of(root / "conformance" / package), files_of(root / "tests" / "conformance" / package)
    found = [f"matrix/{package} has {name}, conformance/{package} has not" for name in sorted(halves - done)]
    found += [f"conformance/{package} has {name}, matrix/{package} has not" for name in sorted(done - halves)]
    return found + [f"{name} has no tests" for name in sorted(halves) if f"test_{name}" not in tested]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_has_both_halves_and_a_test(package: str) -> None:
    assert loose_ends(package, ROOMS) == []


def test_a_half_that_is_missing_is_named(tmp_path: Path) -> None:
    for file in ("conformance/workloads/only_done.py", "tests/conformance/workloads/test_told.py"):
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        path.touch()
    told = Workload(name="only_told", about="", phases=(), judged="")
    assert loose_ends("workloads", [told], tmp_path) == [
        "matrix/workloads has only_told, conformance/workloads has not",
        "conformance/workloads has only_done, matrix/workloads has not",
        "only_told has no tests",
    ]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: f"{room.package}-{room}")
def test_a_half_provides_what_its_kind_promises(room: Room) -> None:
    assert [name for name in room.provides if not callable(getattr(half(room), name, None))] == []
    assert (ROOT / "matrix" / room.package / f"{room.half}.py").is_file()
    assert room.about


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: f"{room.package}-{room}")
def test_a_room_is_tried_in_some_profile(room: Room) -> None:
    """One that no plan holds would be measured by nobody."""
    axis = next(axis.name for axis in AXES.values() if axis.values.get(room) is room)
    assert any(room in tried(profile, axis) for profile in load_profiles())


@pytest.mark.parametrize("room", [room for room in ROOMS if room.profiles], ids=str)
def test_a_room_with_profiles_of_its_own_is_tried_just_there(room: Room) -> None:
    axis = next(axis.name for axis in AXES.values() if axis.values.get(room) is room)
    assert set(room.profiles or ()) <= set(load_profiles())
    for profile in load_profiles():
        held = room in tried(profile, axis)
        assert held or profile not in (room.profiles or ()), profile


@pytest.mark.parametrize("room", [room for room in ROOMS if room.profiles], ids=str)
def test_each_selection_of_a_room_has_cells_in_the_plan(room: Room) -> None:
    axis = next(axis.name for axis in AXES.values() if axis.values.get(room) is room)
    for profile, texts in (room.profiles or {}).items():
        for text in (texts,) if isinstance(texts, str) else texts:
            selection = parse_selection(f"{axis}={room} {text}", ARCHITECTURES)
            assert any(cell in selection for cell in plan(profile)), text


def test_a_room_is_the_string_that_is_its_name() -> None:
    cell = parse_cell("llama-float32-sdpa-nf4-prefill")
    assert cell.quantisation == "nf4"
    assert {cell.quantisation: 1}["nf4"] == 1
    assert f"{cell.quantisation}" == str(cell.quantisation) == "nf4"


def test_everything_of_a_workload_is_known_before_it_runs() -> None:
    workloads = [room for room in ROOMS if isinstance(room, Workload)]
    assert all(workload.phases and workload.judged for workload in workloads)
    assert {workload.name for workload in workloads if workload.is_relation} == AXES["workload"].families["relation"]


def test_a_value_that_is_only_spelled_like_a_room_does_nothing() -> None:
    """It equals the room, so that whatever is remembered by cell would take it for one, after others have run."""
    cell = parse_cell("llama-float32-eager-nf4-prefill")
    assert doing(cell).quantised
    with pytest.raises(AttributeError):
        doing(replace(cell, quantisation="nf4"))  # type: ignore[arg-type]
