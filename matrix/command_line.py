"""What the command lines have in common."""

import typer

from matrix.errors import UsageError


def run(app: typer.Typer) -> None:
    """Run a command line; bad input is one line on stderr and exit code 2."""
    try:
        app()
    except UsageError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
