"""Trouble, planted into cells of a real run: `python -m conformance.trouble` asks whether each stays where it is.

A plan of small models is run undisturbed, then with every kind of trouble in every phase, in as many processes as each
`--workers` says. What met trouble is to have the verdict that the table of conformance/trouble/catalogue.py gives, in
its phase; everything else the verdict that it has without. Ends 1 if anything is not so.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from conformance.trouble.campaign import Conditions, chosen_cells, chosen_troubles, measure
from matrix.command_line import run
from matrix.installed import FIXTURE_CACHE
from matrix.stack import detect_stack
from reports.files import make_room_for, write_whole
from reports.trouble import trouble_lines, trouble_markdown, wrong_in

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="where the JSON goes; a .md goes beside it")] = Path(
        "reports/out/trouble.json"
    ),
    trouble: Annotated[list[str] | None, typer.Option(help="only this kind; may be repeated")] = None,
    workers: Annotated[
        list[int] | None, typer.Option(min=0, help="pytest's -n; may be repeated (default: 1, 2)")
    ] = None,
    most: Annotated[int, typer.Option(min=2, help="cells at most")] = 360,
    cell_timeout: Annotated[float, typer.Option(min=0.1, help="seconds for a cell")] = 5.0,
    grace: Annotated[float, typer.Option(min=0.1, help="seconds after that until its process is ended")] = 2.0,
    limit: Annotated[float, typer.Option(min=1, help="seconds for a run, which is to end by itself")] = 1800.0,
    keep: Annotated[Path | None, typer.Option(help="where the reports of the runs go; else they are deleted")] = None,
    fixture_cache: Annotated[Path, typer.Option(help="where fixtures are kept")] = FIXTURE_CACHE,
) -> None:
    """Plant every kind of trouble in every phase, and see whose cell it becomes."""
    stack = detect_stack()
    troubles = chosen_troubles(trouble or (), stack)
    make_room_for(output)
    with tempfile.TemporaryDirectory() as folder:
        at = Conditions((keep or Path(folder)).absolute(), fixture_cache.expanduser(), cell_timeout, grace, limit)
        campaign = measure(stack, chosen_cells(stack, most), troubles, workers or (1, 2), at)
    write_whole(output, campaign.model_dump_json(indent=1, exclude_defaults=True) + "\n")
    write_whole(output.with_suffix(".md"), trouble_markdown(campaign))
    for line in trouble_lines(campaign):
        typer.echo(line)
    typer.echo(f"written to {output} and {output.with_suffix('.md')}")
    if any(wrong_in(campaign)):
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
