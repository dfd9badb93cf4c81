"""What the command lines have in common."""

import typer

from matrix.errors import UsageError


def run(app: typer.Typer) -> None:
    """Run a command line; bad input is one line on stderr and exit code 2."""
    try:
        app()
    except UsageError as error:
        say(f"error: {error}", err=True)
        raise SystemExit(2) from None


def say(text: str, *, err: bool = False) -> None:
    """Print lines that may come from a file of somebody else: what could steer a terminal is spelled out."""
    harmless = (c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    typer.echo("".join(harmless), err=err)
