"""Which releases there are: of a folder of wheels by looking, of an index by what pip says."""

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from conformance.upgrade import index
from conformance.upgrade.index import releases_of
from matrix.errors import UsageError
from tests.wheels import make_wheel

PYTHON = Path(sys.executable)


def test_releases_of_a_folder_are_those_that_fit(tmp_path: Path) -> None:
    for version in ("1.10.0", "1.2.0", "1.2.1rc1", "2.0.0.post1"):
        make_wheel(tmp_path, "some-thing", version)
    make_wheel(tmp_path, "some-thing", "3.0.0", python="<3")
    make_wheel(tmp_path, "some-thing", "4.0.0", python=">=3.8,<9")
    make_wheel(tmp_path, "some-thing", "5.0.0", python="soon")
    make_wheel(tmp_path, "some-thing", "6.0.0").rename(tmp_path / "some_thing-6.0.0-cp27-cp27m-win32.whl")
    make_wheel(tmp_path, "something", "7.0.0")
    (tmp_path / "some_thing-8.0.0-py3-none-any.whl").write_bytes(b"no wheel")
    (tmp_path / "some_thing.whl").write_bytes(b"")
    found = releases_of("Some_Thing", PYTHON, tmp_path)
    assert found == [Version(text) for text in ("1.2.0", "1.10.0", "2.0.0.post1", "4.0.0")]


def test_a_folder_without_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"some-thing: .* has no release of it that fits"):
        releases_of("some-thing", PYTHON, tmp_path)


def answers(monkeypatch: pytest.MonkeyPatch, status: int, out: str, err: str) -> list[list[str]]:
    asked: list[list[str]] = []

    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, status, out, err)

    monkeypatch.setattr(index.subprocess, "run", run)
    return asked


def test_an_index_is_asked_through_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "peft (0.18)\nAvailable versions: 0.18.0, 0.2.0, 0.10.0, 2004d, 0.19rc1\n  INSTALLED: 0.17\n"
    asked = answers(monkeypatch, 0, said, "WARNING: experimental\n")
    assert releases_of("peft", PYTHON) == [Version(text) for text in ("0.2.0", "0.10.0", "0.18.0")]
    assert asked[0][:5] == [str(PYTHON), "-m", "pip", "index", "versions"]


def test_a_local_build_is_no_release_beside_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 0, "Available versions: 2.13.0, 2.13.0+cpu, 2.12.0+cpu, 2.11.0\n", "")
    assert releases_of("torch", PYTHON) == [Version(text) for text in ("2.11.0", "2.12.0+cpu", "2.13.0")]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("WARNING: x\nERROR: No matching distribution found for petf\n", "No matching distribution found for petf"),
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
    ],
)
def test_what_pip_cannot_say_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch, said: str, shown: str) -> None:
    answers(monkeypatch, 1, "", said)
    with pytest.raises(UsageError, match=f"petf: pip cannot say which releases there are: .*{shown}"):
        releases_of("petf", PYTHON)
