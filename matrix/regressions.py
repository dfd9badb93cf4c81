"""Failures that others reported, as rows of `matrix/regressions.toml`. Their probes are in conformance/regressions/."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.errors import UsageError, quoted
from matrix.expectation import (
    Condition,
    read_condition,
    read_tables,
    require_pattern,
    require_text,
    require_url,
)
from matrix.stack import Stack

FILE = Path(__file__).with_name("regressions.toml")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEYS = {"name", "urls", "about", "when", "refusal"}


@dataclass(frozen=True)
class Regression:
    """One reported failure. It is gone where its probe passes, or where the library refuses the combination."""

    name: str  # of the probe too
    urls: tuple[str, ...]  # where it was reported
    about: str  # combination and symptom, in one sentence
    condition: Condition  # the stacks on which the combination exists
    refusal: str = ""  # a regular expression for "Type: message" of a refusal; empty where none is due

    def why_unreachable(self, stack: Stack) -> str:
        """What the stack does not have, such as "needs cuda, transformers <5 (here 5.23.0)"; empty if reachable."""
        return self.condition.why_not(stack)

    def is_refusal(self, error: Exception) -> bool:
        """Whether this is the error with which a library refuses the combination."""
        return bool(self.refusal) and re.search(self.refusal, f"{type(error).__name__}: {error}") is not None


def load_regressions(path: Path = FILE) -> dict[str, Regression]:
    """All rows by name.

    Raises:
        UsageError: the file does not parse, or a row says something unknown, with file, row and value.
    """
    found: dict[str, Regression] = {}
    for number, table in enumerate(read_tables(path, "regression"), start=1):
        place = f"{path}: regression {number}"
        regression = _regression(table, place)
        if regression.name in found:
            raise UsageError(f"{place}: the name {regression.name!r} is taken")
        found[regression.name] = regression
    return found


def _regression(table: dict[str, Any], place: str) -> Regression:
    unknown = set(table) - _KEYS
    if unknown:
        raise UsageError(f"{place}: unknown key {quoted(min(unknown))}; allowed are {', '.join(sorted(_KEYS))}")
    require_text(table, ("name", "about", *({"refusal"} & set(table))), place)
    if not _NAME.fullmatch(table["name"]):
        raise UsageError(f"{place}: name {quoted(table['name'])} must be lower-case letters, digits and underscores")
    urls = table.get("urls")
    if not isinstance(urls, list) or not urls:
        raise UsageError(f"{place}: urls must be a list of links to where it was reported, not {quoted(urls)}")
    for url in urls:
        if not require_url(url, place).startswith("https:"):
            raise UsageError(f"{place}: url {quoted(url)} does not begin with https://")
    refusal = require_pattern(table, "refusal", place)
    condition = read_condition(table.get("when", {}), place)
    return Regression(table["name"], tuple(urls), table["about"], condition, refusal)
