"""One side of an upgrade measured: a run of pytest in its environment, which goes on where it was cut off."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from conformance.children import following
from conformance.interruption import end_with_parent
from conformance.plugin.forkserver import ROOT
from conformance.upgrade.environments import Environment
from matrix.errors import UsageError
from matrix.shard import Shard
from matrix.stack import DISTRIBUTIONS
from reports.document import Report
from reports.packed import report_file
from reports.reading import read_report

GO_ON = "the same command goes on"
# What is divided, continued and ended here, or would end at the first thing that somebody is there to find.
_OWN = ("--shard", "--resume", "--only", "-x", "--exitfirst", "--maxfail", "--lf", "--last-failed", "--pdb", "--trace")
_OUTPUT = "output.txt"
_REFUSED = 4  # pytest.ExitCode.USAGE_ERROR: nothing was run
_PATIENCE = 60.0  # seconds, for a run that was told to end to write what it has
_PROGRESS = re.compile(r"[\d,]+ of [\d,]+, [\d,]+ a minute.* left")  # of conformance/plugin/progress.py
Say = Callable[[str], None]


def refuse_own(arguments: Sequence[str]) -> None:
    """Raise UsageError for an argument of pytest with which no side would reach its end."""
    for argument in arguments:
        if argument.partition("=")[0] in _OWN:
            raise UsageError(f"{argument}: runs are divided, continued and ended by the command itself; leave it out")


def measure(
    environment: Environment,
    folder: Path,
    arguments: Sequence[str],
    shard: Shard | None = None,
    say: Say = lambda line: None,
) -> Report:
    """The report of a run of this checkout in that environment, in a folder of its own.

    One that is finished is taken as it is, one that was cut off is gone on with. What pytest says is in the folder too.

    Args:
        arguments: of pytest, none that `refuse_own` refuses.
        shard: the part of the plan that is measured.
        say: hears how far it is, now and then.

    Raises:
        UsageError: pytest refuses, or the run did not reach its end; what it has measured is kept.
        KeyboardInterrupt: somebody ended it; the same.
    """
    if (found := finished(folder)) is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    resume = (folder / "records.jsonl").is_file()
    command = [str(environment.python), "-m", "pytest", "-p", "no:cacheprovider", *_workers(arguments), *arguments]
    command += [f"--{'resume' if resume else 'report-dir'}={folder.absolute()}"]
    command += [f"--shard={shard}"] if shard else []
    status = logged(command, environment.environ(), folder / _OUTPUT, say)
    report = finished(folder)
    if report is None:
        raise UsageError(f"{folder}: {_why(folder, status)}")
    return report


def finished(folder: Path) -> Report | None:
    """The report of a run that reached its end there."""
    if not (folder / "matrix.json").is_file():
        return None
    report = read_report(folder)
    return None if report.cut_off else report


def check_versions(report: Report, versions: Mapping[str, str], side: str) -> None:
    """Hold what a run says that it measured against what its environment holds.

    Raises:
        UsageError: it measured another release.
    """
    measured = report.run.stack.versions
    for name in DISTRIBUTIONS:
        if measured.get(name) != versions.get(name):
            was, there = (of.get(name, "absent") for of in (measured, versions))
            raise UsageError(f"the {side} measured {name} {was}, not {there}")


def _workers(arguments: Sequence[str]) -> list[str]:
    given = any(argument.startswith(("-n", "--numprocesses", "--tx")) for argument in arguments)
    return [] if given else ["-n", "auto"]


def logged(command: Sequence[str], environ: Mapping[str, str], output: Path, say: Say) -> int:
    """The exit status of a command that is run in this checkout, what it prints in a file, its progress said."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # what the terminal says is for this process, which passes it on once
            preexec_fn=end_with_parent,
        )
    try:
        for text in following(output, process):
            for progress in _PROGRESS.findall(text):
                say(progress)
    finally:
        if process.poll() is None:
            _end(process)
    return process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have a run write what it has, as at Ctrl-C."""
    process.send_signal(signal.SIGTERM)  # a job in the background is deaf to SIGINT, and so are its children
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    with contextlib.suppress(ProcessLookupError):  # nobody of its session is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _why(folder: Path, status: int) -> str:
    """Why a run has no whole report."""
    if status != _REFUSED:
        with contextlib.suppress(UsageError):
            if cut_off := read_report(report_file(folder)).cut_off:
                return f"{cut_off}; {GO_ON}"
    said = (folder / _OUTPUT).read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith(("ERROR", "E  "))]
    told = errors or [line for line in said if line.strip()] or ["it said nothing"]
    return f"pytest ended with {status}: {told[-1]}"
