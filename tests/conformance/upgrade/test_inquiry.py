"""What regressed is asked further: each cause by few of its cells, who brings it, and since when."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.version import Version

from conformance.upgrade import inquiry as inquiring
from conformance.upgrade.choices import How, Question
from conformance.upgrade.inquiry import EXAMPLES, Inquiry, inquire, symptoms_of
from matrix.errors import UsageError
from matrix.releases import Pin
from matrix.rows import RowOutcome
from matrix.verdict import Verdict
from reports.gate import Gate, judge
from tests.conformance.upgrade.world import CELL, ROW, World, report_of, right_but

BEFORE = {"peft": "0.20.0", "tokenizers": "0.21", "transformers": "5.20.0"}
AFTER = {"peft": "0.21.0", "tokenizers": "0.22", "transformers": "5.24.0"}
BOTH = frozenset(Question)
PEFT = [Version(text) for text in ("0.19.0", "0.20.0", "0.20.1", "0.20.2", "0.20.3", "0.21.0", "0.22.0")]


def by_peft(versions: Mapping[str, str]) -> Verdict | None:
    return Verdict.INACCURATE if Version(versions["peft"]) >= Version("0.20.2") else None


def gate_of(world: World, *names: str) -> Gate:
    sides = [report_of({name: world.seen(versions, name) for name in names}, versions) for versions in (BEFORE, AFTER)]
    return judge(sides[:1], sides[1:])


def asked(
    world: World,
    gate: Gate,
    folder: Path,
    questions: frozenset[Question],
    patch: pytest.MonkeyPatch,
    before: Mapping[str, str] = BEFORE,
    after: Mapping[str, str] = AFTER,
) -> list[str]:
    world.here = dict(before)
    patch.setattr(inquiring, "build", lambda pins, *given: world.build(pins))
    patch.setattr(inquiring, "measure", world.measure)
    patch.setattr(inquiring, "releases_of", lambda *given: PEFT)
    for module in ("inquiry", "blame"):
        patch.setattr(f"conformance.upgrade.{module}.hints", lambda *given: ())
    pins = tuple(Pin(*one) for one in after.items())
    said: list[str] = []
    inquire(Inquiry(world.place(), world.place(*pins), pins, (), folder, How.AUTO, None), gate, questions, said.append)
    return said


def test_blame_and_bisect_name_the_change_and_its_first_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(right_but(CELL, by_peft))
    said = asked(world, gate_of(world, CELL, ROW), tmp_path, BOTH, monkeypatch)
    assert f"{CELL}: peft 0.20.0 -> 0.21.0" in said
    assert f"{CELL}: since peft==0.20.2: inaccurate (in 0.20.1: supported)" in said
    assert not any("0.19.0" in line or "0.22.0" in line for line in said)  # beyond the upgrade
    assert len(set(world.built)) == len(world.built)  # none of them twice


def test_only_what_is_asked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(right_but(CELL, by_peft))
    said = asked(world, gate_of(world, CELL), tmp_path, frozenset({Question.BISECT}), monkeypatch)
    assert f"{CELL}: peft 0.20.0 -> 0.21.0" not in said
    assert f"{CELL}: since peft==0.20.2: inaccurate (in 0.20.1: supported)" in said


def test_what_does_not_come_again_is_said_whatever_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gate_of(World(right_but(CELL, by_peft)), CELL)
    said = asked(
        World(right_but(CELL, lambda versions: None)), gate, tmp_path, frozenset({Question.BISECT}), monkeypatch
    )
    assert any(line.startswith(f"{CELL}: measured alone it does not come again") for line in said)


def test_a_release_that_is_older_than_what_is_here_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(right_but(CELL, lambda versions: None if by_peft(versions) else Verdict.ERROR))
    gate = judge([report_of({CELL: Verdict.SUPPORTED}, AFTER)], [report_of({CELL: Verdict.ERROR}, BEFORE)])
    said = asked(world, gate, tmp_path, BOTH, monkeypatch, before=AFTER, after=BEFORE)
    assert f"{CELL}: peft 0.21.0 -> 0.20.0" in said
    assert f"{CELL}: since peft==0.20.2: supported (in 0.20.1: error)" in said


def test_an_index_that_cannot_be_reached_is_said_of_each_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(change: object, inquiry: object) -> list[Pin]:
        raise UsageError("peft: pip cannot say which releases there are: no route")

    def wrong(versions: Mapping[str, str], name: str) -> Verdict | RowOutcome:
        if not by_peft(versions):
            return RowOutcome.HOLDS if name == ROW else Verdict.SUPPORTED
        return {ROW: RowOutcome.VIOLATED, CELL: Verdict.INACCURATE}.get(name, Verdict.SUPPORTED)

    monkeypatch.setattr(inquiring, "_releases", unreachable)
    world = World(wrong)
    said = asked(world, gate_of(world, CELL, ROW), tmp_path, BOTH, monkeypatch)
    for name in (CELL, ROW):
        assert f"{name}: peft 0.20.0 -> 0.21.0" in said
        assert f"not asked: {name}: peft: pip cannot say which releases there are: no route" in said


def test_what_came_with_the_upgrade_has_no_release_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(right_but(CELL, lambda versions: Verdict.ERROR if "xet" in versions else None))
    gate = judge([report_of({CELL: Verdict.SUPPORTED}, BEFORE)], [report_of({CELL: Verdict.ERROR}, BEFORE)])
    said = asked(world, gate, tmp_path, BOTH, monkeypatch, after=BEFORE | {"xet": "1.0"})
    assert f"{CELL}: xet none -> 1.0: it came with the upgrade, and has no release before" in said


def test_without_a_regression_there_is_nothing_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(right_but(CELL, lambda versions: None))
    said = asked(world, gate_of(world, CELL), tmp_path, BOTH, monkeypatch)
    assert said == ["nothing regressed in a single cell or row: there is nothing to ask"]
    assert world.built == []


def test_few_of_many_cells_speak_for_a_cause() -> None:
    dtypes, paddings = ("float32", "bfloat16", "float16"), ("", "left-", "right-")
    cells = [f"llama-{dtype}-eager-{padding}prefill" for dtype in dtypes for padding in paddings]
    gate = gate_of(World(lambda versions, name: by_peft(versions) or Verdict.SUPPORTED), *cells)
    ((names),) = symptoms_of(gate)
    assert len(names) == EXAMPLES
    assert names[0] == gate.groups[0].example


def test_a_row_speaks_for_itself() -> None:
    world = World(right_but(ROW, lambda versions: RowOutcome.VIOLATED if by_peft(versions) else None))
    assert list(symptoms_of(gate_of(world, CELL, ROW))) == [(ROW,)]
