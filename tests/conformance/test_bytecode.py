"""Where compiled modules are kept: as Python has it, or in the suite's cache where Python would keep none."""

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.bytecode import FOLDER
from tests.builders import ROOT

PROGRAM = """
import os, subprocess, sys
{before}
import conformance
import here
flags = subprocess._args_from_interpreter_flags()  # as multiprocessing does
subprocess.run([sys.executable, *flags, "-c", "import conformance, there"], check=True)
print(sys.pycache_prefix)
"""


def prefix_of(folder: Path, *, before: str = "", compiled: bool = False, **environment: str) -> str:
    """What a process says of where it keeps compiled modules, with a torch of its own; it imports two more."""
    (folder / "site" / "torch").mkdir(parents=True, exist_ok=True)
    for name in ("torch/__init__", "here", "there"):
        (folder / "site" / f"{name}.py").write_text("\n", encoding="utf-8")
    if compiled:
        py_compile.compile(os.fspath(folder / "site/torch/__init__.py"))
    environment = {"HOME": os.fspath(folder), "PYTHONPATH": f"{folder / 'site'}:{ROOT}"} | environment
    command = [sys.executable, "-c", PROGRAM.format(before=before)]
    answer = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def compiled_in(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in folder.rglob("*.pyc")}


@pytest.mark.parametrize(
    ("before", "environment"),
    [("", {"PYTHONDONTWRITEBYTECODE": "1"}), ("os.access = lambda path, mode: '.cache' in str(path)", {})],
)
def test_what_nobody_would_keep_is_kept_in_the_cache(before: str, environment: dict[str, str], tmp_path: Path) -> None:
    kept = Path(prefix_of(tmp_path, before=before, **environment))
    assert kept.parent == tmp_path / FOLDER.relative_to("~")
    assert {"here", "there"} <= compiled_in(kept)
    assert compiled_in(tmp_path / "site") == set()


def test_where_the_libraries_are_compiled_a_wish_to_write_nothing_is_respected(tmp_path: Path) -> None:
    assert prefix_of(tmp_path, compiled=True, PYTHONDONTWRITEBYTECODE="1") == "None"
    assert not (tmp_path / ".cache").exists()
    assert compiled_in(tmp_path / "site") == {"__init__"}


def test_what_python_keeps_itself_stays_where_it_keeps_it(tmp_path: Path) -> None:
    assert prefix_of(tmp_path) == "None"
    assert {"here", "there"} <= compiled_in(tmp_path / "site")


def test_a_folder_that_somebody_names_is_the_one(tmp_path: Path) -> None:
    own = str(tmp_path / "own")
    assert prefix_of(tmp_path, PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=own) == own
    assert compiled_in(tmp_path) == set()


def test_another_release_whose_files_are_as_old_is_not_taken_for_the_first(tmp_path: Path) -> None:
    """As in images whose times are all the same."""
    prefixes = []
    for version in ("2.13.0", "2.14.1"):
        installed = tmp_path / f"site/torch-{version}.dist-info"
        installed.mkdir(parents=True)
        prefixes.append(prefix_of(tmp_path, PYTHONDONTWRITEBYTECODE="1"))
        installed.rmdir()
    assert len(set(prefixes)) == 2


@pytest.mark.parametrize(
    ("before", "home"),
    [("", "/proc/nowhere"), ("import types; sys.modules['torch'] = types.ModuleType('torch')", None)],
    ids=["nothing can be written", "a torch that is none"],
)
def test_where_nothing_can_be_kept_all_stays_as_it_is(before: str, home: str | None, tmp_path: Path) -> None:
    environment = {"PYTHONDONTWRITEBYTECODE": "1"} | ({"HOME": home} if home else {})
    assert prefix_of(tmp_path, before=before, **environment) == "None"
