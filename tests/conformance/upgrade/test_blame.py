"""Which change brings what regressed: one of many, two together, what something needs; and when it cannot be told."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.upgrade import blame as blaming
from conformance.upgrade.blame import Change, blame, blamed_lines, changes_between
from conformance.upgrade.trials import Trials
from matrix.releases import Pin
from matrix.verdict import Verdict
from tests.conformance.upgrade.world import CELL, CONTROL, World, right_but

BEFORE = {"accelerate": "1.14.0", "peft": "0.20.0", "tokenizers": "0.21", "transformers": "5.23.0", "pip": "23"}
AFTER = {
    "accelerate": "1.15.0",
    "peft": "0.21.0",
    "tokenizers": "0.23",
    "transformers": "5.24.0",
    "pip": "26",
    "xet": "1",
}
HINT = "toy/models/toy.py: class ToyAttention differs in 1 line"
CHANGES = changes_between(BEFORE, AFTER, ["transformers"])


@pytest.fixture(autouse=True)
def _environments_are_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blaming, "hints", lambda *given: (HINT,))


def test_changes_are_what_differs_and_what_was_named_stands_last() -> None:
    assert [str(change) for change in CHANGES] == [
        "accelerate 1.14.0 -> 1.15.0",
        "peft 0.20.0 -> 0.21.0",
        "tokenizers 0.21 -> 0.23",
        "xet none -> 1",
        "transformers 5.23.0 -> 5.24.0",
    ]


def test_what_an_environment_brings_itself_is_a_change_where_it_was_named(tmp_path: Path) -> None:
    assert [change.name for change in changes_between({"pip": "23"}, {"pip": "26"}, ["pip"])] == ["pip"]
    world = World(right_but(CELL, lambda versions: Verdict.ERROR))
    none = changes_between({"pip": "23"}, {"pip": "26"})
    (told,) = blamed_lines(blame([CELL], none, world.trials(tmp_path, CELL)))
    assert told == f"{CELL}: no package that somebody chose is another release in the candidate"
    assert not world.asked


def tried_in(world: World, folder: Path) -> Trials:
    world.here = BEFORE
    known = {
        frozenset(change.pin for change in CHANGES): world.place(*(change.pin for change in CHANGES)),
        frozenset(): world.place(),
    }
    return world.trials(folder, CELL, known=known)


def test_one_of_many_is_named_and_neither_side_is_built_again(tmp_path: Path) -> None:
    world = World(right_but(CELL, lambda versions: Verdict.INACCURATE if versions["peft"] == "0.21.0" else None))
    blamed = blame([CELL], CHANGES, tried_in(world, tmp_path))
    assert blamed.changes == (Change("peft", "0.20.0", "0.21.0"),)
    assert () not in world.built
    assert not any(len(pins) == len(CHANGES) for pins in world.built)
    told = list(blamed_lines(blamed))
    assert told[0] == f"{CELL}: peft 0.20.0 -> 0.21.0"
    assert "    no change: passes: supported" in told
    assert "    peft: fails: inaccurate" in told
    assert f"    hint: {HINT}" in told


def test_two_that_fail_only_together_are_named_together(tmp_path: Path) -> None:
    def wrong(versions: Mapping[str, str]) -> Verdict | None:
        both = versions["peft"] == "0.21.0" and versions["transformers"] == "5.24.0"
        return Verdict.INACCURATE if both else None

    blamed = blame([CELL], CHANGES, tried_in(World(right_but(CELL, wrong)), tmp_path))
    assert [change.name for change in blamed.changes] == ["peft", "transformers"]
    assert next(blamed_lines(blamed)) == f"{CELL}: peft 0.20.0 -> 0.21.0 together with transformers 5.23.0 -> 5.24.0"


def test_what_does_not_run_without_another_does_not_hide_it(tmp_path: Path) -> None:
    def seen(versions: Mapping[str, str], name: str) -> Verdict:
        if versions["tokenizers"] == "0.23" and versions["transformers"] == "5.23.0":
            return Verdict.ERROR  # of the control too
        return Verdict.INACCURATE if name == CELL and versions["transformers"] == "5.24.0" else Verdict.SUPPORTED

    world = World(seen, needs={Pin("transformers", "5.24.0"): Pin("tokenizers", "0.23")})
    blamed = blame([CELL], CHANGES, tried_in(world, tmp_path))
    assert [change.name for change in blamed.changes] == ["transformers"]
    assert blamed.along == (Change("tokenizers", "0.21", "0.23"),)
    told = "\n".join(blamed_lines(blamed))
    assert "with it comes what it needs: tokenizers 0.21 -> 0.23" in told
    assert f"cannot tell: nothing runs there: {CONTROL} is error" in told


def test_what_is_brought_along_is_suspected_before_what_brings_it(tmp_path: Path) -> None:
    world = World(
        right_but(CELL, lambda versions: Verdict.INACCURATE if versions["tokenizers"] == "0.23" else None),
        needs={Pin("transformers", "5.24.0"): Pin("tokenizers", "0.23")},
    )
    assert [change.name for change in blame([CELL], CHANGES, tried_in(world, tmp_path)).changes] == ["tokenizers"]


def test_who_drags_the_guilty_along_is_not_blamed(tmp_path: Path) -> None:
    world = World(
        right_but(CELL, lambda versions: Verdict.INACCURATE if versions["transformers"] == "5.24.0" else None),
        needs={Pin("peft", "0.21.0"): Pin("transformers", "5.24.0")},
    )
    changes = changes_between(BEFORE, AFTER, ["peft", "transformers"])
    blamed = blame([CELL], changes, tried_in(world, tmp_path))
    assert (blamed.changes, blamed.along) == ((Change("transformers", "5.23.0", "5.24.0"),), ())
    assert next(blamed_lines(blamed)) == f"{CELL}: transformers 5.23.0 -> 5.24.0"


def test_two_that_bring_each_other_are_asked_once_each(tmp_path: Path) -> None:
    peft, transformers = Pin("peft", "0.21.0"), Pin("transformers", "5.24.0")
    world = World(
        right_but(CELL, lambda versions: Verdict.INACCURATE if versions["peft"] == "0.21.0" else None),
        needs={peft: transformers, transformers: peft},
    )
    blamed = blame([CELL], CHANGES, tried_in(world, tmp_path))
    assert {*blamed.changes, *blamed.along} >= {change for change in CHANGES if change.name in ("peft", "transformers")}
    assert len({some for some, _, _ in blamed.tried}) == len(blamed.tried)


def test_two_of_which_one_could_not_be_tried_are_not_said_to_need_each_other(tmp_path: Path) -> None:
    def seen(versions: Mapping[str, str], name: str) -> Verdict:
        raised = versions["peft"] == "0.21.0", versions["transformers"] == "5.24.0"
        if raised == (False, True):
            return Verdict.ERROR  # of the control too
        return Verdict.INACCURATE if name == CELL and all(raised) else Verdict.SUPPORTED

    blamed = blame([CELL], CHANGES, tried_in(World(seen), tmp_path))
    assert next(blamed_lines(blamed)) == (
        f"{CELL}: among peft 0.20.0 -> 0.21.0 and transformers 5.23.0 -> 5.24.0 (without peft it could not be tried)"
    )


def test_what_does_not_come_again_blames_nobody(tmp_path: Path) -> None:
    blamed = blame([CELL], CHANGES, tried_in(World(right_but(CELL, lambda versions: None)), tmp_path))
    assert blamed.changes == ()
    assert next(blamed_lines(blamed)) == (f"{CELL}: measured alone it does not come again (before: supported)")
