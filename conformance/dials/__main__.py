"""What dials can be read to: `python -m conformance.dials` turns each, and asks.

Honest backends, every dial at many sizes and the faults that are no dial, in each architecture and dtype with several
seeds: how small an error is read, how often the truth lies inside the error bars, and whom it is laid to.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from conformance.dials import DIALS
from conformance.dials.campaign import Share, measure_share
from conformance.faults.catalogue import THROUGH_SDPA
from conformance.plugin.workers import auto_workers
from matrix.architectures import load_architectures
from matrix.axes import Dtype
from matrix.command_line import run
from matrix.errors import UsageError, quoted
from matrix.installed import FIXTURE_CACHE
from matrix.stack import detect_stack
from reports.dials import DialPower, dial_lines, dial_markdown
from reports.files import make_room_for, write_whole

ARCHITECTURES = (*THROUGH_SDPA, "falcon_alibi")

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="where the JSON goes; a .md goes beside it")] = Path(
        "reports/out/dials.json"
    ),
    architecture: Annotated[list[str] | None, typer.Option(help="only this one; may be repeated")] = None,
    dtype: Annotated[list[Dtype] | None, typer.Option(help="only this one; may be repeated")] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="of weights and inputs; may be repeated")] = None,
    dial: Annotated[list[str] | None, typer.Option(help="only this one is turned; may be repeated")] = None,
    honest: Annotated[bool, typer.Option("--honest", help="only honest backends")] = False,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 for as many as suit the machine")] = 0,
    fixture_cache: Annotated[Path, typer.Option(help="where fixtures are kept")] = FIXTURE_CACHE,
) -> None:
    """Turn every dial in every architecture, and read all of them."""
    known = load_architectures()
    for what, named, allowed in (("architecture", architecture, known), ("dial", dial, DIALS)):
        for name in named or ():
            if name not in allowed:
                raise UsageError(f"unknown {what} {quoted(name)}; allowed are {', '.join(allowed)}")
    make_room_for(output)
    stack, started = detect_stack(), datetime.now(UTC)
    work = [
        Share(name, one, number, stack, fixture_cache.expanduser(), tuple(dial or ()), honest)
        for number in seed or (0,)
        for name in architecture or ARCHITECTURES
        for one in dtype or Dtype
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or auto_workers(stack) or 1, mp_context=context) as pool:
        trials = [trial for share in pool.map(measure_share, work) for trial in share]
    power = DialPower(started=started, finished=datetime.now(UTC), stack=stack, trials=trials)
    write_whole(output, power.model_dump_json(exclude_defaults=True) + "\n")
    write_whole(output.with_suffix(".md"), dial_markdown(power))
    for line in dial_lines(power):
        typer.echo(line)
    typer.echo(f"written to {output} and {output.with_suffix('.md')}")


if __name__ == "__main__":
    run(app)
