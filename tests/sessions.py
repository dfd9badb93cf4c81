"""Running pytest in a process of its own, as a user does."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conformance.plugin.forkserver import PRELOAD, SERVES, SOCKET, launcher
from reports.document import Record, Report
from reports.reading import read_report

ROOT = Path(__file__).parent.parent
# What a played session and its workers import, but for the plugins, of which pytest rewrites what they assert.
_PLAYED = ("pytest", "xdist.dsession", "xdist.remote", "conformance.plugin.measuring", "reports.write")
_PATIENCE = 900.0  # seconds, where something would be wrong if they passed


@dataclass(frozen=True)
class Session:
    """What a pytest run left behind."""

    status: int
    output: str
    folder: Path

    @property
    def report(self) -> Report:
        """Its matrix.json."""
        return read_report(self.folder)

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict by cell id."""
        return {record.cell: record.verdict.value for record in self.report.records}

    def record(self, cell: str) -> Record:
        """The record of one cell."""
        return next(record for record in self.report.records if record.cell == cell)


def run_pytest(
    folder: Path,
    *arguments: str,
    sabotage: dict[str, str] | None = None,
    real: bool = False,
    tests: str = "conformance/test_cells.py",
    resume: bool = False,
) -> Session:
    """Run the suite into `folder`, or go on with the run that is there.

    Unless `real`, cells are played by tests.saboteur and torch is not needed.
    """
    python = [sys.executable, "-m", "pytest"]
    if not real:  # what is real is started as a user does
        run = "import runpy; runpy.run_module('pytest', run_name='__main__', alter_sys=True)"
        python = [*_ready()[0], "-c", run]
    command = [*python, *tests.split(), *([] if real else ["-p", "tests.saboteur"])]
    command += ["-o", f"cache_dir={folder.parent / 'cache'}", f"--{'resume' if resume else 'report-dir'}={folder}"]
    command += [f"--fixture-cache={folder.parent / 'fixtures'}", *arguments]
    environment = environment_of_a_session(sabotage, real=real)
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE, check=False, env=environment
    )
    return Session(answer.returncode, answer.stdout + answer.stderr, folder)


def environment_of_a_session(sabotage: dict[str, str] | None = None, *, real: bool = False) -> dict[str, str]:
    """The variables of a session that is started from within a test: it must not inherit that it runs in a worker."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"SABOTAGE": json.dumps(sabotage or {}), "CUDA_VISIBLE_DEVICES": ""}
    if not real:  # what is real is forked from the process that has imported the libraries for these tests
        environment.pop(SOCKET, None)
        environment |= _ready()[1]
    return environment


@cache
def _ready() -> tuple[list[str], dict[str, str]]:
    """In place of `python` one that has imported what is played needs, which is not torch; and what says so to workers.

    Half of the seconds of a played session were imports.
    """
    usual = dict(os.environ)
    os.environ.pop(SOCKET, None)
    os.environ[PRELOAD] = ",".join(_PLAYED)
    try:
        python = launcher()
        return python, {name: os.environ[name] for name in (SOCKET, SERVES, PRELOAD) if name in os.environ}
    finally:
        os.environ.clear()
        os.environ.update(usual)


def run_script(path: Path) -> subprocess.CompletedProcess[str]:
    """What `python FILE` does in its folder, in a process forked from one that has imported the libraries."""
    code = f"import runpy; runpy.run_path({os.fspath(path)!r}, run_name='__main__')"
    return subprocess.run([*launcher(), "-c", code], cwd=path.parent, capture_output=True, text=True, check=False)
