"""Sets of releases are tried once each, and what says nothing of a cell is not taken for an answer."""

from pathlib import Path

import pytest

from conformance.upgrade.trials import CONTROL, Trial, answer_of, answer_of_all
from matrix.cell import parse_cell
from matrix.delta import Answer
from matrix.errors import UsageError
from matrix.observation import Ending
from matrix.releases import Pin
from matrix.rows import RowOutcome
from matrix.verdict import Verdict
from reports.document import Report
from tests.builders import REFUSAL, completed, record_of
from tests.conformance.upgrade.world import CELL, OTHER, ROW, World, nothing_runs, report_of, right_but

NEW = Pin("transformers", "5.24.0")
HONEST = right_but(CELL, lambda versions: None)


def of(verdict: Verdict, **more: object) -> Trial:
    return Trial(report_of({CELL: verdict}))


def test_a_set_is_built_and_measured_once(tmp_path: Path) -> None:
    world = World(HONEST)
    trials = world.trials(tmp_path, CELL)
    assert trials.of([NEW]) is trials.of([NEW])
    assert trials.of([NEW]).said(CELL) == "supported"
    assert world.built == [(NEW,)]
    assert len(world.asked) == 1


def test_only_the_cells_and_rows_that_are_named_run_with_one_that_must_be_right(tmp_path: Path) -> None:
    world = World(HONEST)
    trials = world.trials(tmp_path, CELL, ROW, arguments=("--seed=1", "conformance/test_guide.py::test_guide[x]"))
    trials.of([NEW])
    (arguments,) = world.asked
    assert arguments[:-1] == (
        "--seed=1",
        "conformance/test_cells.py",
        "conformance/test_guide.py",
        f"--cell={CONTROL}",
        f"--cell={CELL}",
    )
    only = Path(arguments[-1].removeprefix("--only="))
    assert only.read_text(encoding="utf-8").split() == [CONTROL, CELL, ROW]


def test_runs_of_other_names_or_arguments_have_folders_of_their_own(tmp_path: Path) -> None:
    world = World(HONEST)
    for names, arguments in (((CELL,), ()), ((OTHER,), ()), ((CELL,), ("--seed=1",))):
        world.trials(tmp_path, *names, arguments=arguments).of([NEW])
    world.trials(tmp_path, CELL).of([Pin("transformers", "5.23.0")])
    world.trials(tmp_path, CELL).of([])
    assert len(set(world.folders)) == 5
    world.trials(tmp_path, CELL, ground=("torch 2.13.0",)).of([NEW])
    assert len(set(world.folders)) == 6
    world.trials(tmp_path, CELL).of([NEW])
    assert world.folders[-1] == world.folders[0]


def test_what_cannot_be_installed_or_run_is_no_answer(tmp_path: Path) -> None:
    trial = World(HONEST, broken=(NEW,)).trials(tmp_path, CELL).of([NEW])
    assert (trial.report, trial.why_not) == (None, f"{NEW} cannot be installed: no matching distribution")
    trial = World(nothing_runs).trials(tmp_path, CELL).of([NEW])
    assert trial.report is None
    assert trial.said(CELL) == f"nothing runs there: {CONTROL} is error: because"


def test_a_run_without_the_cell_that_must_be_right_is_no_answer(tmp_path: Path) -> None:
    class Narrowed(World):
        def measure(self, *given: object, **more: object) -> Report:
            return report_of({CELL: Verdict.SUPPORTED})

    assert "leave out -k and -m" in Narrowed(HONEST).trials(tmp_path, CELL).of([NEW]).why_not


def test_claims_are_not_measured_again(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="claim: rows of this family are not measured again"):
        World(HONEST).trials(tmp_path, "claim:C1-flash")
    with pytest.raises(UsageError, match="nonsense: rows of this family"):
        World(HONEST).trials(tmp_path, "nonsense:x")


@pytest.mark.parametrize(
    ("there", "answer"),
    [
        (Verdict.SUPPORTED, Answer.PASSES),
        (Verdict.REFUSED, Answer.FAILS),
        (Verdict.INACCURATE, Answer.UNKNOWN),
        (Verdict.NOT_BUILT, Answer.UNKNOWN),
        (Verdict.MISSING, Answer.UNKNOWN),
    ],
)
def test_an_answer_is_as_before_or_as_after_or_none(there: Verdict, answer: Answer) -> None:
    assert answer_of(CELL, of(Verdict.SUPPORTED), of(there), of(Verdict.REFUSED)) is answer


def test_what_says_nothing_before_or_after_tells_nothing() -> None:
    right = of(Verdict.SUPPORTED)
    assert answer_of(CELL, of(Verdict.MISSING), right, of(Verdict.REFUSED)) is Answer.UNKNOWN
    assert answer_of(CELL, right, right, Trial(None, "no")) is Answer.UNKNOWN
    assert answer_of(CELL, right, Trial(None, "no"), of(Verdict.REFUSED)) is Answer.UNKNOWN
    assert answer_of(CELL, right, right, right) is Answer.UNKNOWN


def test_within_one_verdict_what_else_differs_is_the_answer() -> None:
    def raised(message: str) -> Trial:
        failure = REFUSAL.__class__(REFUSAL.phase, REFUSAL.type, message)
        seen = completed(parse_cell(CELL), ending=Ending.RAISED, failure=failure)
        report = report_of({})
        return Trial(report.model_copy(update={"records": [record_of(CELL, Verdict.ERROR, message, observation=seen)]}))

    before, after = raised("no such head"), raised("shapes cannot be broadcast")
    assert answer_of(CELL, before, raised("no such head"), after) is Answer.PASSES
    assert answer_of(CELL, before, raised("shapes cannot be broadcast"), after) is Answer.FAILS
    assert answer_of(CELL, before, raised("out of range"), after) is Answer.UNKNOWN


def test_several_speak_with_one_voice_or_tell_nothing() -> None:
    both = (CELL, OTHER)
    before, after = (Trial(report_of(dict.fromkeys(both, said))) for said in (Verdict.SUPPORTED, Verdict.ERROR))
    assert answer_of_all(both, before, after, after) is Answer.FAILS
    split = Trial(report_of({CELL: Verdict.SUPPORTED, OTHER: Verdict.ERROR}))
    assert answer_of_all(both, before, split, after) is Answer.UNKNOWN
    row = [Trial(report_of({ROW: said})) for said in (RowOutcome.HOLDS, RowOutcome.REFUSED)]
    assert answer_of(ROW, row[0], row[1], row[1]) is Answer.FAILS


def test_a_name_that_is_not_planned_is_refused_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.upgrade.trials.planned", lambda *given: ([CONTROL, CELL], [ROW]))
    world = World(HONEST)
    world.trials(tmp_path, CELL, ROW).refuse_unknown(world.place())
    with pytest.raises(UsageError, match="'guide:G1-b-guide' is no cell and no row that is planned here"):
        world.trials(tmp_path, CELL, "guide:G1-b-guide").refuse_unknown(world.place())
