"""An advice is asked for again by the Python of another environment."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.upgrade.advised import advised_again
from matrix.errors import UsageError
from tests.reports.test_advice import advised


@dataclass(frozen=True)
class Pretended:
    """An environment whose Python writes down what it is asked, and the advice, and ends so."""

    python: Path
    status: int

    def environ(self) -> dict[str, str]:
        return dict(os.environ)


def pretended(folder: Path, status: int = 1, *, answers: bool = True) -> Pretended:
    given = folder / "answer.json"
    given.write_text(advised().model_dump_json(), encoding="utf-8")
    python = folder / "python"
    last = f'cp {given} "$8/advice.json"' if answers else "echo what it said last"
    python.write_text(f"#!/bin/sh\necho $@ >> {folder}/asked\n{last}\nexit {status}\n", encoding="utf-8")
    python.chmod(0o755)
    return Pretended(python, status)


@pytest.mark.parametrize("status", [0, 1])
def test_it_is_asked_once_and_what_is_there_is_taken(tmp_path: Path, status: int) -> None:
    before, file = advised(), tmp_path / "mine.json"
    environment = pretended(tmp_path, status)
    for _ in range(2):
        assert advised_again(environment, before, file, tmp_path / "out") == before  # type: ignore[arg-type]
    (asked,) = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked == f"-m matrix advise /models/mine --check {file} --output {tmp_path / 'out'}"


@pytest.mark.parametrize(("status", "answers"), [(2, True), (0, False)])
def test_what_could_not_be_asked_says_what_it_said(tmp_path: Path, status: int, answers: bool) -> None:
    environment = pretended(tmp_path, status, answers=answers)
    said = "it said nothing" if answers else "what it said last"
    with pytest.raises(UsageError, match=f"out: advise ended with {status}: {said}; the same command goes on"):
        advised_again(environment, advised(), tmp_path / "mine.json", tmp_path / "out")  # type: ignore[arg-type]
