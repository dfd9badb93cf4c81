"""What a node does: it runs some cells and rows with pytest, and hands on each line of their report as it comes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.children import following
from conformance.interruption import end_with_parent
from conformance.plugin.forkserver import ROOT
from matrix.errors import UsageError


@dataclass(frozen=True)
class Block:
    """Some tests of a plan, and how it is run."""

    names: tuple[str, ...]  # cell ids and keys of rows
    arguments: tuple[str, ...]  # of pytest, the same for the whole plan
    cores: int  # that it may use


def measured(block: Block) -> Iterator[str]:
    """The lines of its records.jsonl, several at a time, while it runs.

    Crashes, limits and verdicts are those of any run, for it is one: `-n auto` on the block's share of the machine.

    Raises:
        UsageError: pytest did not come to measure; with its own words.
    """
    with tempfile.TemporaryDirectory(prefix="block-") as given:
        folder = Path(given)
        (folder / "names").write_text("\n".join(block.names), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "auto", *block.arguments]
        command += [f"--only={folder / 'names'}", f"--report-dir={folder / 'report'}"]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment_of(os.environ, block.cores),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
            )
        try:
            came = False
            for lines in following(folder / "report" / "records.jsonl", process):
                came = True
                yield lines
        finally:
            process.kill()
            process.wait()
        if not came:
            said = (folder / "output").read_text(encoding="utf-8", errors="replace").split("\n")
            told = [line for line in said if line.strip()]
            errors = [line for line in told if line.startswith(("ERROR", "E  "))]
            raise UsageError(f"pytest ended with {process.returncode}: {(errors or told or ['it said nothing'])[-1]}")


def environment_of(own: Mapping[str, str], cores: int) -> dict[str, str]:
    """The environment of a run of its own on so many cores, within a task."""
    kept = {name: value for name, value in own.items() if not name.startswith("PYTEST_")}
    return kept | {"PYTHON_CPU_COUNT": str(cores)}
