"""Measure how time grows with the number of cells: `python -m conformance.growth 250 500 1000 2000 4000 8000`.

One plan is drawn from in a fixed order, so that each run has the cells of the smaller ones and more, spread over the
whole plan. A run of one cell of each architecture comes before them and is not counted: it makes the fixtures.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from matrix.cell import Cell
from matrix.command_line import run, say
from matrix.errors import UsageError
from matrix.installed import FIXTURE_CACHE, architectures_for
from matrix.plan import make_plan
from reports.files import write_whole
from reports.growth import growth_lines, growth_of, growth_svg
from reports.reading import read_report

_ROOT = Path(__file__).parent.parent
_RAN = (0, 1)  # of pytest: whether cells are as documented is not what is asked here

app = typer.Typer(add_completion=False)


def subset(plan: Sequence[Cell], size: int) -> list[Cell]:
    """So many cells from all over the plan, in its order: always the same, those of a smaller size among them.

    Raises:
        UsageError: the plan has not so many.
    """
    if size > len(plan):
        raise UsageError(f"{size:,} cells: the plan has {len(plan):,}")
    drawn = random.Random(0).sample(range(len(plan)), len(plan))[:size]
    return [plan[number] for number in sorted(drawn)]


def measure(cells: Iterable[Cell], profile: str, fixture_cache: Path, folder: Path) -> None:
    """Run these cells as `pytest -n auto` does; the report goes into the folder.

    Raises:
        UsageError: pytest did not come to run them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        # A file, for the sake of the report, which repeats the command line.
        named = Path(temporary) / "cells.txt"
        named.write_text("".join(f"--cell={cell.id}\n" for cell in cells), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "conformance/test_cells.py",
            "-q",
            "-n",
            "auto",
            "-p",
            "no:cacheprovider",
        ]
        command += [f"--profile={profile}", f"--fixture-cache={fixture_cache}", f"--report-dir={folder}", f"@{named}"]
        answer = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if answer.returncode not in _RAN:
        said = (answer.stderr or answer.stdout).strip().splitlines() or ["nothing was said"]
        raise UsageError(f"pytest ended with {answer.returncode}: {said[-1]}")


@app.command()
def main(
    sizes: Annotated[list[int], typer.Argument(min=2, help="how many cells, a run for each")],
    profile: Annotated[str, typer.Option(help="the plan that they are drawn from")] = "zoo",
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder for the reports and the picture")] = Path(
        "reports/out/growth"
    ),
    fixture_cache: Annotated[Path, typer.Option(help="where fixtures are kept")] = FIXTURE_CACHE,
) -> None:
    """Run subsets of a plan, and draw how their time grows; `python -m reports growth` draws it again."""
    output, cache = output.absolute(), fixture_cache.expanduser().absolute()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
    architectures = architectures_for(None, cache, profile=profile)
    plan = make_plan(profile, architectures)
    subsets = {size: subset(plan, size) for size in sorted(set(sizes))}
    first_of_each = {cell.architecture: cell for cell in reversed(subsets[max(sizes)])}
    with tempfile.TemporaryDirectory() as uncounted:
        measure(first_of_each.values(), profile, cache, Path(uncounted))
    for size, cells in subsets.items():
        measure(cells, profile, cache, output / str(size))
        say(f"{size:,} cells: {output / str(size)}")
    growth = growth_of(read_report(output / str(size) / "matrix.json") for size in subsets)
    write_whole(output / "growth.svg", growth_svg(growth))
    for line in (*growth_lines(growth), str(output / "growth.svg")):
        say(line)


if __name__ == "__main__":
    run(app)
