"""Fuzzing: a little of it, and that each part of the contract can be broken."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from matrix.errors import UsageError
from tests.fuzz import __main__ as fuzz
from tests.fuzz.contract import Ending, Rubbish, held_to_the_contract, is_short_line, smallest
from tests.fuzz.inputs import broken_bytes, broken_text
from tests.fuzz.parsers import Parser, every_parser

INPUTS = 3_000


def test_every_parser_keeps_its_contract(tmp_path: Path) -> None:
    parsers = every_parser(tmp_path)
    counts = fuzz.shares(parsers, INPUTS)
    tallies = [fuzz.fuzzed(parser, counts[parser.name], seed=0, limit=30.0) for parser in parsers]
    assert {tally.name: tally.failures for tally in tallies if tally.failures} == {}
    assert sum(sum(tally.counts.values()) for tally in tallies) > INPUTS * 0.9
    # Neither all of it is refused nor all of it taken, else nothing would be asked.
    ample = [tally for tally in tallies if sum(tally.counts.values()) >= 50]
    assert len(ample) >= 8
    assert [
        tally.name for tally in ample if not tally.counts[Ending.ACCEPTED] or not tally.counts[Ending.REFUSED]
    ] == []


def raises(given: str) -> None:
    if "b" in given:
        raise KeyError(given)  # of which only the first is shown


def loops(given: str) -> None:
    while "b" in given:
        pass


def swallows_and_loops(given: str) -> None:
    while "b" in given:
        try:
            itertools.count()
        except Exception:
            continue


def leaves(given: str) -> None:
    if "b" in given:
        raise SystemExit(0)


def takes_rubbish(given: str) -> None:
    if "b" in given:
        raise Rubbish("b means nothing")


class Raw(UsageError):
    """One that does not do what the exception itself does for its message."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)


def refuses_with(said: str) -> Callable[[str], None]:
    def refuse(given: str) -> None:
        if "b" in given:
            raise Raw(said)

    return refuse


PLANTED = [
    pytest.param(raises, Ending.RAISED, id="raises"),
    pytest.param(leaves, Ending.RAISED, id="leaves"),
    pytest.param(loops, Ending.HUNG, id="hangs"),
    pytest.param(swallows_and_loops, Ending.HUNG, id="hangs and swallows"),
    pytest.param(takes_rubbish, Ending.RUBBISH, id="takes rubbish"),
    pytest.param(refuses_with("two\nlines"), Ending.LOUD, id="says two lines"),
    pytest.param(refuses_with("x" * 2_000), Ending.LOUD, id="says too much"),
    pytest.param(refuses_with("\x1b[31m"), Ending.LOUD, id="steers the terminal"),
    pytest.param(refuses_with(""), Ending.LOUD, id="says nothing"),
    pytest.param(refuses_with("no b"), Ending.REFUSED, id="refuses"),
]


@pytest.mark.parametrize(("parse", "ending"), PLANTED)
def test_what_breaks_the_contract_is_seen(parse: Callable[[str], None], ending: Ending) -> None:
    assert held_to_the_contract(parse, "abc", limit=0.05).ending is ending
    assert held_to_the_contract(parse, "ac", limit=30.0).ending is Ending.ACCEPTED


@pytest.mark.parametrize(
    ("parse", "ending"), [one for one in PLANTED if one.id in ("raises", "hangs", "takes rubbish")]
)
def test_a_broken_contract_ends_with_1_and_leaves_the_least_input_to_be_tried_again(
    parse: Callable[[str], None], ending: Ending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Parser("planted", 1, lambda draw: "".join(draw.choices("abc", k=12)), parse)
    monkeypatch.setattr(fuzz, "every_parser", lambda folder: [planted])
    monkeypatch.setattr(fuzz, "LIMIT", 0.02)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fuzzed = fuzz.fuzzed
    monkeypatch.setattr(fuzz, "fuzzed", lambda parser, inputs, seed: fuzzed(parser, inputs, seed, limit=0.02))
    answer = CliRunner().invoke(fuzz.app, ["--inputs", "5"])
    assert answer.exit_code == 1
    assert f"planted: {ending}: " in answer.output
    assert "    'b'\n" in answer.output
    (kept,) = tmp_path.glob("fuzz-*.txt")
    assert f"--only 'planted' --given {kept}" in answer.output
    again = CliRunner().invoke(fuzz.app, ["--only", "planted", "--given", str(kept)])
    assert (again.exit_code, again.output.startswith(f"{ending}: ")) == (1, True)


def test_a_kept_contract_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fuzz, "every_parser", lambda folder: [Parser("good", 1, lambda draw: "b", refuses_with("no b"))]
    )
    answer = CliRunner().invoke(fuzz.app, ["--inputs", "5"])
    assert (answer.exit_code, answer.output.count("fuzz-")) == (0, 0)
    assert answer.output.splitlines()[1].split()[:-2] == ["good", "5", "0", "5", "0", "0", "0", "0"]


def test_an_input_follows_from_seed_parser_and_number(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    one, other = every_parser(tmp_path / "a"), every_parser(tmp_path / "b")
    for parser, again in zip(one, other, strict=True):
        if parser.name not in ("--checkpoint", "options of pytest"):  # which name their folders
            assert parser.make(random.Random("1 x 5")) == again.make(random.Random("1 x 5"))


def test_inputs_are_seeds_with_something_broken() -> None:
    texts = [broken_text(random.Random(number), ["alpha = 1\nbeta = 2\n"]) for number in range(300)]
    assert len(set(texts)) > 200
    assert any("\x1b" in text for text in texts)
    assert any(len(text) > 10_000 for text in texts)
    contents = [broken_bytes(random.Random(number), [b"alpha = 1\nbeta = 2\n"]) for number in range(300)]
    assert len(set(contents)) > 200


@pytest.mark.parametrize("given", ["xxxxbxxxx", b"xxxbxx", ["x", "b", "x"]])
def test_the_least_part_that_fails_is_left(given: Any) -> None:
    needle = 98 if isinstance(given, bytes) else "b"
    left = smallest(given, lambda part: needle in part)
    assert list(left) == [needle]
    assert smallest(given, lambda part: False) == given


def test_a_long_input_is_made_small_within_bounds() -> None:
    tried = itertools.count()
    smallest("x" * 10_000, lambda part: next(tried) < 0, tries=50)
    assert next(tried) == 50


@pytest.mark.parametrize(("text", "short"), [("no", True), ("", False), ("a\nb", False), ("x" * 2_000, False)])
def test_a_short_line(text: str, short: bool) -> None:
    assert is_short_line(text) is short
