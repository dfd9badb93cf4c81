"""The file of known moves: it reads, and what is wrong with one is named with its place."""

from pathlib import Path

import pytest

from matrix.eager_moves import Word, load_moves
from matrix.errors import UsageError

GOOD = {
    "architectures": ["bamba"],
    "last": "4.57.6",
    "first": "5.23.0",
    "word": "repair",
    "place": "models/bamba/modeling_bamba.py",
    "cause": "positions",
    "reading": "the paper",
}


def written(folder: Path, **changes: object) -> Path:
    told = {name: value for name, value in (GOOD | changes).items() if value is not None}
    path = folder / "moves.toml"
    path.write_text("[[move]]\n" + "".join(f"{name} = {value!r}\n" for name, value in told.items()))
    return path


def test_the_moves_of_the_suite_read_and_none_is_told_twice() -> None:
    moves = load_moves()
    assert {move.word for move in moves} <= set(Word)
    names = [(name, move.last, move.first) for move in moves for name in move.architectures]
    assert len(names) == len(set(names))


def test_a_move_explains_what_lies_between_its_releases_alone(tmp_path: Path) -> None:
    (move,) = load_moves(written(tmp_path))
    assert move.word is Word.REPAIR
    assert move.explains("bamba", "4.57.6", "5.23.0")
    assert move.explains("bamba", "4.48.3", "5.24.0")
    assert not move.explains("llama", "4.57.6", "5.23.0")
    assert not move.explains("bamba", "5.23.0", "5.24.0")
    assert not move.explains("bamba", "5.23.0", "4.57.6")
    assert not move.explains("bamba", "no release", "5.23.0")


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        ("llama = 1.0", "moved has 'llama', which is none of the architectures"),
        ("bamba = 0", "moved of bamba must be a number above 0, not 0"),
        ("bamba = nan", "moved of bamba must be a number above 0"),
        ("bamba = true", "moved of bamba must be a number above 0"),
        ("bamba = 'far'", "moved of bamba must be a number above 0, not 'far'"),
    ],
)
def test_how_far_it_went_is_a_number_of_one_of_its_architectures(tmp_path: Path, moved: str, said: str) -> None:
    path = written(tmp_path)
    path.write_text(f"{path.read_text()}moved = {{{moved}}}\n")
    with pytest.raises(UsageError, match="move 1") as error:
        load_moves(path)
    assert said in str(error.value)
    path.write_text(f"{written(tmp_path).read_text()}moved = {{bamba = 2}}\nweights = ['a']\nfails = ['load']\n")
    (move,) = load_moves(path)
    assert (move.moved, move.weights, move.fails) == ({"bamba": 2}, ("a",), ("load",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"word": "better"}, "word 'better' must be repair or regression"),
        ({"architectures": []}, "architectures must be a list of names"),
        ({"architectures": ["Bamba!"]}, "architectures must be a list of names"),
        ({"last": "5.23.0"}, "must come before first"),
        ({"first": "soon"}, "move 1: Invalid version"),
        ({"cause": None}, "cause must be a non-empty string"),
        ({"url": "nowhere"}, "is not a web address"),
        ({"note": "x"}, "unknown key 'note'"),
        ({"moved": 3}, "moved must be a table of numbers, not 3"),
        ({"weights": "a"}, "weights must be a list of names, not 'a'"),
        ({"fails": ["sleep"]}, "fails 'sleep': allowed are"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match="move 1") as error:
        load_moves(written(tmp_path, **changes))
    assert said in str(error.value)
