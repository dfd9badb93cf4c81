"""What is known of releases in which eager attention came to compute something else: was it repaired, or broken?"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from matrix.errors import UsageError, enumerated, quoted
from matrix.expectation import read_tables, require_text, require_url

FILE = Path(__file__).with_suffix(".toml")
_KEYS = {"architectures", "last", "first", "word", "place", "cause", "reading", "url", "moved", "weights", "fails"}
_STEPS = ("load", "forward", "generate", "save")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Word(StrEnum):
    """What such a move is to who upgrades."""

    REPAIR = "repair"  # what was computed before was wrong
    REGRESSION = "regression"  # what is computed now is wrong


@dataclass(frozen=True)
class Move:
    """What some architectures compute changed between two releases of transformers."""

    architectures: tuple[str, ...]
    last: Version  # the last release that was seen to compute what came before
    first: Version  # the first that was seen to compute what came after
    word: Word
    place: str  # the file of the library, and what in it
    cause: str  # what changed there
    reading: str  # why the one is right and the other is not
    url: str = ""
    moved: Mapping[str, float] = field(default_factory=dict)  # by architecture, in standard deviations of the logits
    weights: tuple[str, ...] = ()  # that are drawn anew or not taken, or were before a repair
    fails: tuple[str, ...] = ()  # the steps that raise now

    def explains(self, architecture: str, before: str, after: str) -> bool:
        """Whether it lies between these two releases, in this order."""
        try:
            return architecture in self.architectures and Version(before) <= self.last < self.first <= Version(after)
        except InvalidVersion:  # of a report from elsewhere
            return False


@cache
def load_moves(path: Path = FILE) -> tuple[Move, ...]:
    """All that is known.

    Raises:
        UsageError: the file does not parse, or a move says something unknown.
    """
    tables = enumerate(read_tables(path, "move"), start=1)
    return tuple(_move(table, f"{path}: move {number}") for number, table in tables)


def _move(table: dict[str, Any], place: str) -> Move:
    unknown = set(table) - _KEYS
    if unknown:
        raise UsageError(f"{place}: unknown key {quoted(min(unknown))}; allowed are {enumerated(sorted(_KEYS))}")
    require_text(table, ("last", "first", "word", "place", "cause", "reading"), place)
    names = table.get("architectures")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and _NAME.fullmatch(n) for n in names):
        raise UsageError(f"{place}: architectures must be a list of names, not {quoted(names)}")
    if table["word"] not in list(Word):
        raise UsageError(f"{place}: word {quoted(table['word'])} must be {' or '.join(Word)}")
    try:
        last, first = Version(table["last"]), Version(table["first"])
    except InvalidVersion as error:
        raise UsageError(f"{place}: {error}") from None
    if not last < first:
        raise UsageError(f"{place}: last {quoted(table['last'])} must come before first {quoted(table['first'])}")
    url = require_url(table["url"], place) if "url" in table else ""
    moved = _moved(table.get("moved", {}), names, place)
    weights, fails = (_texts(table, key, place) for key in ("weights", "fails"))
    if strange := set(fails) - {*_STEPS}:
        raise UsageError(f"{place}: fails {quoted(min(strange))}: allowed are {enumerated(_STEPS)}")
    told = {name: table[name] for name in ("place", "cause", "reading")}
    return Move(
        tuple(names), last, first, Word(table["word"]), **told, url=url, moved=moved, weights=weights, fails=fails
    )


def _moved(table: Any, architectures: list[str], place: str) -> dict[str, float]:
    if not isinstance(table, dict):
        raise UsageError(f"{place}: moved must be a table of numbers, not {quoted(table)}")
    for name, far in table.items():
        if name not in architectures:
            raise UsageError(f"{place}: moved has {quoted(name)}, which is none of the architectures")
        if isinstance(far, bool) or not isinstance(far, int | float) or math.isnan(far) or far <= 0:
            raise UsageError(f"{place}: moved of {name} must be a number above 0, not {quoted(far)}")
    return table


def _texts(table: dict[str, Any], key: str, place: str) -> tuple[str, ...]:
    texts = table.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise UsageError(f"{place}: {key} must be a list of names, not {quoted(texts)}")
    return tuple(texts)
