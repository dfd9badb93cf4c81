"""`python -m tests.fuzz`: hold every parser to its contract with many inputs; ends with 1 if one broke it."""

import ast
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from matrix.command_line import run, say
from matrix.errors import UsageError, enumerated, quoted
from tests.fuzz.contract import Ending, Tally, held_to_the_contract, smallest
from tests.fuzz.parsers import Parser, every_parser

LIMIT = 5.0  # seconds for an input
app = typer.Typer(add_completion=False)


def fuzzed(parser: Parser, inputs: int, seed: int, limit: float = LIMIT) -> Tally:
    """What becomes of so many inputs. Each follows from the seed, the parser's name and its number alone."""
    tally = Tally(parser.name)
    for number in range(inputs):
        given = parser.make(random.Random(f"{seed} {parser.name} {number}"))
        tally.add(given, held_to_the_contract(parser.parse, given, limit))
    return tally


def table(tallies: Iterable[Tally]) -> Iterator[str]:
    """A line for each parser."""
    columns = ("inputs", "accepted", "refused", "other exceptions", "hangs", "rubbish", "bad messages", "slowest")
    yield f"{'parser':20}" + "".join(f"  {column:>{max(8, len(column))}}" for column in columns)
    for tally in tallies:
        counts = [sum(tally.counts.values()), *(tally.counts[ending] for ending in Ending)]
        shown = [*(f"{count:,}" for count in counts), f"{tally.slowest:.3f} s"]
        cells = (f"  {text:>{max(8, len(column))}}" for text, column in zip(shown, columns, strict=True))
        yield f"{tally.name:20}" + "".join(cells)


def shares(parsers: Iterable[Parser], inputs: int) -> dict[str, int]:
    """How many inputs each parser has of so many; at least one."""
    whole = {parser.name: parser.share for parser in parsers}
    return {name: max(1, inputs * share // sum(whole.values())) for name, share in whole.items()}


def _minimal(parser: Parser, given: Any, ending: Ending) -> Any:
    return smallest(given, lambda part: held_to_the_contract(parser.parse, part, LIMIT).ending is ending)


@app.command()
def fuzz(
    inputs: Annotated[int, typer.Option(min=1, help="of all parsers together")] = 100_000,
    seed: Annotated[int, typer.Option(help="other seeds, other inputs")] = 0,
    only: Annotated[str, typer.Option(help="the name of one parser")] = "",
    given: Annotated[Path | None, typer.Option(help="a file that a failure was written to, to try it again")] = None,
) -> None:
    """Hold every parser to its contract, and print what became of the inputs."""
    with tempfile.TemporaryDirectory() as folder:
        parsers = every_parser(Path(folder))
        if only:
            parsers = [parser for parser in parsers if parser.name == only]
        if not parsers or (given is not None and not only):
            names = enumerated(parser.name for parser in every_parser(Path(folder) / "names"))
            raise UsageError(f"--only {quoted(only)}: must name one of {names}")
        if given is not None:
            outcome = held_to_the_contract(parsers[0].parse, ast.literal_eval(given.read_text("utf-8")), LIMIT)
            say(f"{outcome.ending}: {outcome.said}")
            raise SystemExit(not outcome.ending.is_kept)
        counts = shares(parsers, inputs)
        tallies = []
        for parser in parsers:
            tallies.append(fuzzed(parser, counts[parser.name], seed))
            if sys.stderr.isatty():
                say(f"{parser.name}: done", err=True)
        for line in table(tallies):
            say(line)
        by_name = {parser.name: parser for parser in parsers}
        failed = [(by_name[tally.name], failure) for tally in tallies for failure in tally.failures]
        for parser, failure in failed:
            least = _minimal(parser, failure.given, failure.outcome.ending)
            with tempfile.NamedTemporaryFile("w", prefix="fuzz-", suffix=".txt", delete=False) as file:
                file.write(ascii(least))
            say(f"\n{parser.name}: {failure.outcome.ending}: {failure.outcome.said[:300]}")
            say(f"    {ascii(least)[:300]}")
            say(f"    python -m tests.fuzz --only {parser.name!r} --given {file.name}")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    run(app)
