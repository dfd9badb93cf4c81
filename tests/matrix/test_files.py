"""Files of others: read within limits, and refused in a line."""

import os
import tomllib
from pathlib import Path

import pytest

from matrix.errors import UsageError
from matrix.files import read_file, read_json, read_toml
from tests.builders import ROOT


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "a.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "[" * 40 + "]" * 40, "nested too deeply"),
        (".".join(["a"] * 2_000) + " = 1", "nested too deeply"),
        ("a = " + "9" * 5_000, "not valid TOML: Exceeds the limit"),
        ("a = 0x" + "F" * 5_000, "more than 64 bits"),
        ("a = [1, {b = 9223372036854775808}]", "more than 64 bits"),
        (b"a = '\xff'", "not valid TOML: 'utf-8' codec"),
        ("a = 1\na = 2", "not valid TOML: "),
        ("\ufeffa = 1", "not valid TOML: "),
        ("a = 1979-13-45", "not valid TOML: "),
    ],
)
def test_toml_that_nobody_can_bear_is_refused_with_its_file(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(UsageError, match=rf"a\.toml: .*{words}"):
        read_toml(put(tmp_path, content))


def test_what_is_within_the_limits_is_read(tmp_path: Path) -> None:
    assert read_toml(put(tmp_path, "a = [-9223372036854775808, {b = 9223372036854775807}]\nc = inf")) == {
        "a": [-(2**63), {"b": 2**63 - 1}],
        "c": float("inf"),
    }


def test_every_toml_file_of_the_suite_is_within_the_limits() -> None:
    found = [path for folder in ("matrix", "conformance") for path in (ROOT / folder).rglob("*.toml")]
    assert len(found) > 40
    for path in found:
        assert read_toml(path) == tomllib.loads(path.read_text(encoding="utf-8"))


def test_there_is_one_reader_of_toml() -> None:
    sources = [path for name in ("matrix", "conformance", "reports") for path in (ROOT / name).rglob("*.py")]
    readers = [path.name for path in sources if "tomllib" in path.read_text(encoding="utf-8")]
    assert readers == ["files.py"]


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in {
        tmp_path: "is a folder, not a file",
        tmp_path / "pipe": "is a device or a pipe, not a file",
        Path("/dev/zero"): "is a device or a pipe, not a file",
        tmp_path / "nothing": "No such file",
        tmp_path / ("x" * 5_000): "File name too long",
        Path("a\0b"): "no such file",
        Path("\ud800"): "no such file",
    }.items():
        with pytest.raises(UsageError, match=words):
            read_file(path)


def test_a_file_may_be_as_large_as_is_said(tmp_path: Path) -> None:
    assert read_file(put(tmp_path, "12345678"), most=8) == b"12345678"
    with pytest.raises(UsageError, match="larger than"):
        read_file(put(tmp_path, "123456789"), most=8)


@pytest.mark.parametrize(("content", "words"), [("[" * 100_000, "nested"), ("{", "JSON"), (b"\xff", "utf-8")])
def test_json_that_nobody_can_bear_is_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(UsageError, match=rf"a\.toml: not valid JSON: .*{words}|not valid JSON"):
        read_json(put(tmp_path, content))
