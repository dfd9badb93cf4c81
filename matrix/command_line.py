"""What the command lines have in common."""

import typer

from matrix.errors import UsageError, harmless


def run(app: typer.Typer) -> None:
    """Run a command line; bad input is one line on stderr and exit code 2."""
    try:
        app()
    except UsageError as error:
        say(f"error: {error}", err=True)
        raise SystemExit(2) from None


def say(text: str, *, err: bool = False) -> None:
    """Print lines that may come from a file of somebody else: what could steer a terminal is spelled out."""
    typer.echo(harmless(text), err=err)
