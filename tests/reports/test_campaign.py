"""What a command that was interrupted has measured: it goes on with that, and with nothing else."""

from pathlib import Path

import pytest

from matrix.axes import Dtype
from matrix.errors import UsageError
from reports.campaign import Notes, read_campaign
from reports.dials import COMMAND, DialPower, DialTrial
from reports.power import Trial
from tests.builders import make_stack

STACK = make_stack()
TRIAL = DialTrial(architecture="bert", dtype=Dtype.FLOAT16, seed=0, cell="", seen=False, readings=[])
OTHER = TRIAL.model_copy(update={"cell": "bert-float16-sdpa-prefill"})


@pytest.mark.parametrize(
    ("versions", "asked", "goes_on"), [({}, "scale", True), ({"torch": "1.0"}, "scale", False), ({}, "", False)]
)
def test_the_same_command_goes_on_with_what_is_noted(
    tmp_path: Path, versions: dict[str, str], asked: str, goes_on: bool
) -> None:
    notes = Notes.beside(tmp_path / "dials.json")
    assert notes.read() == {}
    notes.begin(COMMAND, STACK, "scale")
    notes.write("bert", TRIAL)
    notes.begin(COMMAND, make_stack(versions) if versions else STACK, asked)
    assert [one.of(DialTrial) for one in notes.read().values()] == ([[TRIAL]] if goes_on else [])


def test_what_could_not_be_written_to_its_end_takes_nothing_with_it(tmp_path: Path) -> None:
    notes = Notes.beside(tmp_path / "dials.json")
    notes.begin(COMMAND, STACK, "")
    notes.write("bert", TRIAL)
    with notes.path.open("a") as file:
        file.write('{"part": "bert", "tri')
    notes.write("bert", OTHER)
    notes.write("llama")
    noted = notes.read()
    assert noted["bert"].of(DialTrial) == [TRIAL, OTHER]
    assert [noted[part].is_whole for part in ("bert", "llama")] == [False, True]


def test_a_trial_of_an_older_release_is_measured_again(tmp_path: Path) -> None:
    notes = Notes.beside(tmp_path / "dials.json")
    notes.begin(COMMAND, STACK, "")
    notes.write("bert", TRIAL)
    assert notes.read()["bert"].of(Trial) == []


def test_where_nothing_can_be_noted_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Not a directory"):
        Notes.beside(tmp_path / "file" / "dials.json").begin(COMMAND, STACK, "")


def test_another_file_is_named_with_the_command_that_did_not_write_it(tmp_path: Path) -> None:
    (tmp_path / "dials.json").write_text('{"trials": 3}')
    with pytest.raises(UsageError, match=r"dials.json: not what python -m conformance.dial_power writes"):
        read_campaign(tmp_path / "dials.json", DialPower, COMMAND)
