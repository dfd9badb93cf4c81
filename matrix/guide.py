"""The guide made executable: its recipes and requirements as rows, from `matrix/guide.toml`.

A recipe is tried in the guide's spelling and in today's: by a probe of its name in conformance/guide/, by cells of the
matrix, or both.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from matrix.cell import SILENT
from matrix.errors import UsageError, quoted
from matrix.expectation import (
    Condition,
    read_condition,
    read_tables_of,
    require_pattern,
    require_text,
    require_versions,
)
from matrix.selection import Selection, parse_selection
from matrix.stack import DISTRIBUTIONS, Stack

FILE = Path(__file__).with_name("guide.toml")
_NUMBER = re.compile(r"[GC]\d{1,2}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEYS = {
    "recipe": {"number", "name", "about", "probe", "cells", "cells_spelling", "when", "on_cpu"},
    "refused": {"recipes", "spelling", "when", "type", "message", "source"},
    "requirement": {"number", "distribution", "versions", "about"},
}


class Spelling(StrEnum):
    """How a recipe is written down."""

    GUIDE = "guide"  # as the guide has it
    TODAY = "today"  # as the newest release documents it
    EITHER = "either"  # the same then and now


@dataclass(frozen=True)
class Recipe:
    """One thing that the guide tells its reader to do."""

    number: str  # of the guide's row: G1
    name: str
    about: str
    probe: tuple[Spelling, ...]  # the spellings in which a probe of that name tries it
    cells: tuple[str, ...]  # selections of cells that try it; axes not named are at rest
    cells_spelling: Spelling
    condition: Condition  # the stacks on which it can be tried by the probe
    on_cpu: Condition  # what it needs besides where there is no GPU

    def why_unreachable(self, stack: Stack) -> str:
        """What the stack does not have; empty if the probe can try it."""
        return self.condition.why_not(stack) or ("" if stack.gpus else self.on_cpu.why_not(stack))

    def row(self, spelling: Spelling) -> str:
        """The name of the row that a probe fills."""
        return f"{self.number}-{self.name}-{spelling}"

    def selections(self, architectures: Collection[str]) -> Iterator[Selection]:
        """Its cells."""
        for text in self.cells:
            yield at_rest(parse_selection(text, architectures))


@dataclass(frozen=True)
class Refusal:
    """An error that a recipe meets on some stacks, and where that is documented."""

    recipes: tuple[str, ...]  # names, with * for any letters
    spelling: Spelling | None  # None: in every one
    condition: Condition
    type: str
    message: str  # a regular expression, searched for
    source: str

    def covers(self, recipe: Recipe, spelling: Spelling, stack: Stack) -> bool:
        """Whether it speaks of this recipe in this spelling on this stack."""
        return (
            any(fnmatchcase(recipe.name, pattern) for pattern in self.recipes)
            and self.spelling in (None, spelling)
            and self.condition.holds(stack)
        )

    def matches(self, type_name: str, message: str) -> bool:
        """Whether an exception of this type and message is exactly the documented one."""
        return type_name == self.type and re.search(self.message, message) is not None

    def __str__(self) -> str:
        return f"{self.type} matching {self.message!r} ({self.source})"


@dataclass(frozen=True)
class Requirement:
    """A version that the guide asks for."""

    number: str
    distribution: str
    versions: SpecifierSet
    about: str

    @property
    def row(self) -> str:
        """The name of its row."""
        return f"{self.number}-requires_{self.distribution.replace('-', '_')}-{Spelling.EITHER}"

    def problem(self, stack: Stack) -> str:
        """What is too old, naming both versions; empty where it is met or the library is not here."""
        here = stack.versions.get(self.distribution)
        if here is None or self.versions.contains(here, prereleases=True):
            return ""
        return f"{self.distribution} {here} is too old: {self.about} needs {self.distribution} {self.versions}"


@dataclass(frozen=True)
class Guide:
    """All that the guide says."""

    recipes: tuple[Recipe, ...]
    refusals: tuple[Refusal, ...]
    requirements: tuple[Requirement, ...]

    @property
    def rows(self) -> dict[str, tuple[Recipe, Spelling]]:
        """The rows that probes fill, in the order of the guide."""
        return {recipe.row(spelling): (recipe, spelling) for recipe in self.recipes for spelling in recipe.probe}

    def refusal(self, recipe: Recipe, spelling: Spelling, stack: Stack) -> Refusal | None:
        """The documented error that is due, if one is: the first that speaks of it."""
        return next((refusal for refusal in self.refusals if refusal.covers(recipe, spelling, stack)), None)


@cache
def load_guide(path: Path = FILE) -> Guide:
    """The guide's rows.

    Raises:
        UsageError: the file does not parse, or a table says something unknown, with file, table and value.
    """
    tables = read_tables_of(path, tuple(_KEYS))
    numbered = [(kind, f"{path}: {kind} {n}", table) for kind in _KEYS for n, table in enumerate(tables[kind], start=1)]
    recipes: dict[tuple[str, str], Recipe] = {}
    refusals, requirements = [], []
    for kind, place, table in numbered:
        unknown = set(table) - _KEYS[kind]
        if unknown:
            allowed = ", ".join(sorted(_KEYS[kind]))
            raise UsageError(f"{place}: unknown key {quoted(min(unknown))}; allowed are {allowed}")
        if kind == "recipe":
            recipe = _recipe(table, place)
            if (recipe.number, recipe.name) in recipes:
                raise UsageError(f"{place}: {recipe.number} has a recipe {recipe.name!r} already")
            recipes[recipe.number, recipe.name] = recipe
        elif kind == "refused":
            refusals.append(_refusal(table, place, {recipe.name for recipe in recipes.values()}))
        else:
            requirements.append(_requirement(table, place))
    return Guide(tuple(recipes.values()), tuple(refusals), tuple(requirements))


def at_rest(selection: Selection) -> Selection:
    """The selection with every axis that it does not name left at its silent value."""
    named = dict(selection.allowed)
    for axis, value in SILENT.items():
        named.setdefault(axis, frozenset({value}))
    return replace(selection, allowed=named)


def _recipe(table: Mapping[str, Any], place: str) -> Recipe:
    require_text(table, ("number", "name", "about"), place)
    _check_number(table["number"], place)
    if not _NAME.fullmatch(table["name"]):
        raise UsageError(f"{place}: name {quoted(table['name'])} must be lower-case letters, digits and underscores")
    probe, cells = table.get("probe", []), table.get("cells", [])
    if not isinstance(probe, list) or not all(spelling in list(Spelling) for spelling in probe):
        raise UsageError(f"{place}: probe must be a list of spellings ({', '.join(Spelling)}), not {quoted(probe)}")
    spelling = table.get("cells_spelling", Spelling.TODAY)
    if spelling not in list(Spelling):
        raise UsageError(f"{place}: cells_spelling {quoted(spelling)}; allowed are {', '.join(Spelling)}")
    if not isinstance(cells, list) or not all(isinstance(text, str) for text in cells) or not (probe or cells):
        raise UsageError(f"{place}: a recipe has a probe, a list of cells, or both")
    condition, on_cpu = (read_condition(table.get(key, {}), place) for key in ("when", "on_cpu"))
    spellings = tuple(Spelling(spelling) for spelling in probe)
    return Recipe(
        table["number"],
        table["name"],
        table["about"],
        spellings,
        tuple(cells),
        Spelling(spelling),
        condition,
        on_cpu,
    )


def _refusal(table: Mapping[str, Any], place: str, known: Collection[str]) -> Refusal:
    require_text(table, ("type", "message", "source"), place)
    patterns = table.get("recipes")
    if not isinstance(patterns, list) or not patterns:
        raise UsageError(f"{place}: recipes must be a list of names, not {quoted(patterns)}")
    for pattern in patterns:
        if not any(fnmatchcase(name, str(pattern)) for name in known):
            raise UsageError(f"{place}: no recipe is called {quoted(pattern)}")
    if table.get("spelling", Spelling.EITHER) not in list(Spelling):
        raise UsageError(f"{place}: spelling {quoted(table['spelling'])}; allowed are {', '.join(Spelling)}")
    require_pattern(table, "message", place)
    spelling = Spelling(table["spelling"]) if "spelling" in table else None
    condition = read_condition(table.get("when", {}), place)
    return Refusal(tuple(patterns), spelling, condition, table["type"], table["message"], table["source"])


def _requirement(table: Mapping[str, Any], place: str) -> Requirement:
    require_text(table, ("number", "distribution", "versions", "about"), place)
    _check_number(table["number"], place)
    if table["distribution"] not in DISTRIBUTIONS:
        named, allowed = quoted(table["distribution"]), ", ".join(DISTRIBUTIONS)
        raise UsageError(f"{place}: distribution {named}; allowed are {allowed}")
    versions = require_versions(table, "versions", place)
    return Requirement(table["number"], table["distribution"], versions, table["about"])


def _check_number(number: str, place: str) -> None:
    if not _NUMBER.fullmatch(number):
        raise UsageError(f"{place}: number {quoted(number)} is none of the guide's, such as G1")
