"""What is measured of a campaign outlives whoever measures: the same command goes on with that, and no other does."""

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from conformance import notes as module
from conformance.notes import Notes
from matrix.axes import Dtype
from matrix.errors import UsageError
from matrix.stack import Gpu
from reports.dials import DialTrial
from tests.builders import make_stack

STACK = replace(make_stack(), gpus=(Gpu("NVIDIA H200", 143_771, "9.0", used_mib=4),))
TRIAL = DialTrial(architecture="bert", dtype=Dtype.FLOAT16, seed=0, cell="", seen=False, readings=[])
OTHER = TRIAL.model_copy(update={"cell": "bert-float16-sdpa-prefill"})


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    found = Notes.beside(tmp_path / "dials.json")
    with found.held("dial_power", STACK, "scale"):
        found.write("bert", TRIAL)
    return found


def test_the_same_command_goes_on_with_what_is_noted_whatever_else_holds_the_gpu(notes: Notes) -> None:
    later = replace(STACK, gpus=(replace(STACK.gpus[0], used_mib=620),))
    with notes.held("dial_power", later, "scale"):
        assert notes.read()["bert"].of(DialTrial) == [TRIAL]


@pytest.mark.parametrize(
    ("command", "versions", "asked", "commit", "another"),
    [
        ("power", {}, "scale", None, "command"),
        ("dial_power", {"torch": "1.0"}, "scale", None, "stack"),
        ("dial_power", {}, "", None, "selection"),
        ("dial_power", {}, "scale", "of yesterday", "commit"),
    ],
)
def test_what_is_noted_of_something_else_is_neither_taken_nor_lost(
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    versions: dict[str, str],
    asked: str,
    commit: str | None,
    another: str,
) -> None:
    if commit is not None:
        monkeypatch.setattr(module, "commit_of_suite", lambda: commit)
    stack = replace(make_stack(versions), gpus=STACK.gpus) if versions else STACK
    with pytest.raises(UsageError, match=f"another {another}: name another output"), notes.held(command, stack, asked):
        pass
    assert notes.read()["bert"].of(DialTrial) == [TRIAL]


def test_two_commands_do_not_measure_into_one_file(notes: Notes) -> None:
    again = notes.held("dial_power", STACK, "scale")
    with (
        notes.held("dial_power", STACK, "scale"),
        pytest.raises(UsageError, match="somebody is measuring into it"),
        again,
    ):
        pass


def test_what_could_not_be_written_to_its_end_takes_nothing_with_it(notes: Notes) -> None:
    with notes.path.open("a") as file:
        file.write('{"part": "bert", "tri')
    notes.write("bert", OTHER)
    notes.write("llama")
    noted = notes.read()
    assert noted["bert"].of(DialTrial) == [TRIAL, OTHER]
    assert [noted[part].is_whole for part in ("bert", "llama")] == [False, True]


def many(notes: Notes, part: str) -> None:
    """In a process of its own: so many trials of a part, too long for one page of the file."""
    for number in range(50):
        notes.write(part, TRIAL.model_copy(update={"cell": f"{number} " + "x" * 5000}))


def test_several_processes_write_whole_lines(notes: Notes) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=many, args=(notes, f"part {number}")) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    noted = notes.read()
    for number in range(3):
        found = noted[f"part {number}"].of(DialTrial)
        assert [one.cell.split()[0] for one in found] == [str(number) for number in range(50)]


def test_notes_that_are_gone_are_not_begun_by_who_measures(notes: Notes) -> None:
    os.unlink(notes.path)
    with pytest.raises(FileNotFoundError):
        notes.write("bert", OTHER)


def test_where_nothing_can_be_noted_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Not a directory"), Notes(tmp_path / "file" / "x").held("", STACK, ""):
        pass
    with pytest.raises(UsageError, match="a folder; name a file in it"):
        Notes.beside(tmp_path)
