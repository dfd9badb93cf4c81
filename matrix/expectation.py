"""What should happen in a cell: rules from TOML files, each with the cells and stacks that it speaks of."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from matrix.cell import Cell
from matrix.errors import UsageError, enumerated, quoted
from matrix.files import read_toml
from matrix.observation import Failure, Phase
from matrix.selection import Selection, parse_selection
from matrix.stack import DISTRIBUTIONS, REQUIREMENTS, Device, Stack

FOLDER = Path(__file__).parent / "expectations"
_RULE_KEYS = {"cells", "when", "outcome", "phase", "type", "message", "cause", "missing", "source"}
_WHEN_KEYS = {"device", "capability", "gpus", "present", "absent"}
# What a rule may call a phase; `run` is the first that a workload goes through, the generation or the forward pass.
_RUN = "run"
_PHASES = (_RUN, *Phase)


class Outcome(StrEnum):
    """What a rule can foretell."""

    SUPPORTED = "supported"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"  # something that the cell needs is not on this machine


@dataclass(frozen=True)
class Condition:
    """The stacks that a rule or waiver speaks of. Every part must hold."""

    versions: Mapping[str, SpecifierSet]
    device: Device | None = None
    capability: SpecifierSet | None = None  # of the first GPU
    gpus: int = 0  # how many there must be
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def holds(self, stack: Stack) -> bool:
        """Whether the stack is one of those."""
        if self.device is not None and stack.device is not self.device:
            return False
        if len(stack.gpus) < self.gpus:
            return False
        if self.capability is not None and not (stack.gpus and self.capability.contains(stack.gpus[0].capability)):
            return False
        if any(stack.lacks(name) for name in self.present) or not all(stack.lacks(name) for name in self.absent):
            return False
        return all(
            name in stack.versions and wanted.contains(stack.versions[name], prereleases=True)
            for name, wanted in self.versions.items()
        )

    def why_not(self, stack: Stack) -> str:
        """What keeps it from holding, such as "needs cuda, transformers <5 (here 5.23.0)"; empty where it holds."""
        missing = list(dict.fromkeys(self._missing(stack)))
        return f"needs {', '.join(missing)}" if missing else ""

    def _missing(self, stack: Stack) -> Iterator[str]:
        if self.device is not None and stack.device is not self.device:
            yield self.device.value
        if len(stack.gpus) < self.gpus:
            yield f"{self.gpus} GPUs (here {len(stack.gpus)})"
        if self.capability is not None:
            here = stack.gpus[0].capability if stack.gpus else "no GPU"
            if not stack.gpus or not self.capability.contains(here):
                yield f"compute capability {self.capability} (here {here})"
        yield from (name for name in ("torch", "transformers", *self.present) if stack.lacks(name))
        yield from (f"no {name}" for name in self.absent if not stack.lacks(name))
        for name, wanted in self.versions.items():
            here = stack.versions.get(name, "none")
            if name not in stack.versions or not wanted.contains(here, prereleases=True):
                yield f"{name} {wanted} (here {here})"


@dataclass(frozen=True)
class Expectation:
    """What should happen, and where that is documented."""

    outcome: Outcome
    source: str
    phase: Phase | None = None
    type: str | None = None  # or several with | between them: builds of a library may differ in it
    message: str | None = None  # a regular expression, searched for
    cause: str | None = None  # another, for what the error came from: one that says so little may come of anything
    missing: tuple[str, ...] = ()  # for `unavailable`: what is not here

    @property
    def runs(self) -> bool:
        """Whether the cell is run: an unavailable one only where a documented error proves the absence."""
        return self.outcome is not Outcome.UNAVAILABLE or self.type is not None

    def matches(self, failure: Failure) -> bool:
        """Whether a failure is exactly the documented one: phase, type, message, and cause where one is named."""
        return (
            self.type is not None
            and failure.phase is self.phase
            and failure.type in self.type.split("|")
            and re.search(self.message or "", failure.message) is not None
            and (self.cause is None or self.named_in(failure) is not None)
        )

    def named_in(self, failure: Failure) -> str | None:
        """The first cause of a failure that is the documented one, if a cause is documented."""
        if self.cause is None:
            return None
        return next((cause for cause in failure.causes if re.search(self.cause, cause)), None)


@dataclass(frozen=True)
class Rule:
    """An expectation for a set of cells on a set of stacks."""

    selection: Selection
    condition: Condition
    expectation: Expectation
    when_run: Mapping[Phase, Expectation]  # by the phase that `run` means, where the rule says so
    place: str  # file and number, for messages


SUPPORTED = Expectation(Outcome.SUPPORTED, source="default: no rule speaks of this cell, so it should work")


def expect(cell: Cell, stack: Stack, rules: Collection[Rule]) -> Expectation:
    """What the first rule says that speaks of this cell on this stack; where none does it should work.

    Where something that its rooms need is not installed it is unavailable, in the words of a rule if one has any:
    what a library would refuse later does not come to pass.
    """
    missing = tuple(name for room in cell.rooms for name in room.needs if stack.lacks(name))
    if stack.device is Device.CUDA and len(stack.gpus) < cell.device_map.processes:
        missing += (f"{cell.device_map.processes} GPUs",)
    for rule in rules:
        if missing and rule.expectation.outcome is not Outcome.UNAVAILABLE:
            continue
        if cell in rule.selection and rule.condition.holds(stack):
            return rule.when_run.get(cell.workload.phases[0], rule.expectation)
    if missing:
        return Expectation(Outcome.UNAVAILABLE, source=f"needs {', '.join(missing)}", missing=missing)
    return SUPPORTED


def load_rules(architectures: Collection[str], extra: Path | None = None) -> tuple[Rule, ...]:
    """The user's rules (folder or file `extra`), then the suite's own, in order of file name.

    The first match decides, so a user's rule overrides, and a refusal that a library makes earlier
    stands in an earlier file.

    Raises:
        UsageError: a file that does not parse or a rule that says something unknown, with its place.
    """
    found: list[Rule] = []
    for path in [*user_files(extra), *sorted(FOLDER.glob("*.toml"))]:
        for number, table in enumerate(read_tables(path, "rule"), start=1):
            place = f"{path}: rule {number}"
            found.append(_rule(table, place, architectures, ours=path.parent == FOLDER))
    return tuple(found)


def user_files(extra: Path | None) -> list[Path]:
    """The TOML files of a folder, or the one file, that a user named.

    Raises:
        UsageError: it does not exist.
    """
    if extra is None:
        return []
    if os.path.isdir(extra):  # unlike Path.is_dir it answers for what can be no path
        return sorted(extra.glob("*.toml"))
    if os.path.isfile(extra):
        return [extra]
    raise UsageError(f"{extra} does not exist; name a TOML file or a folder of them")


def read_tables(path: Path, key: str) -> list[dict[str, Any]]:
    """The `[[key]]` tables of a TOML file.

    Raises:
        UsageError: not TOML, or something else stands at the top level.
    """
    return read_tables_of(path, (key,))[key]


def read_tables_of(path: Path, keys: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """The tables of a TOML file that holds several kinds of them, by kind.

    Raises:
        UsageError: not TOML, or something else stands at the top level.
    """
    document = read_toml(path)
    for key, tables in document.items():
        if key not in keys or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            allowed = " and ".join(f"[[{key}]]" for key in keys)
            raise UsageError(f"{path}: only {allowed} tables are allowed at the top level")
    return {key: document.get(key, []) for key in keys}


def read_condition(table: Mapping[str, Any], place: str) -> Condition:
    """A `when` table: library names with version specifiers, `device`, `capability`, `present`, `absent`.

    Raises:
        UsageError: an unknown key or a value that does not parse.
    """
    if not isinstance(table, dict):
        raise UsageError(f'{place}: when must be a table such as {{ device = "cuda" }}, not {quoted(table)}')
    versions: dict[str, SpecifierSet] = {}
    for key in table:
        if key in DISTRIBUTIONS:
            versions[key] = require_versions(table, key, f"{place}: when")
        elif key not in _WHEN_KEYS:
            allowed = enumerated([*sorted(_WHEN_KEYS), *DISTRIBUTIONS])
            raise UsageError(f"{place}: when names {quoted(key)}; allowed are {allowed}")
    capability = require_versions(table, "capability", f"{place}: when") if "capability" in table else None
    device = table.get("device")
    if device is not None and device not in list(Device):
        raise UsageError(f"{place}: when: device {quoted(device)}; allowed are {enumerated(Device)}")
    gpus = table.get("gpus", 0)
    if type(gpus) is not int or gpus < 0:  # of a bool isinstance says that it is an int
        raise UsageError(f"{place}: when: gpus must be a number, not {quoted(gpus)}")
    present, absent = (_requirements(table, key, place) for key in ("present", "absent"))
    return Condition(versions, None if device is None else Device(device), capability, gpus, present, absent)


def require_versions(table: Mapping[str, Any], key: str, place: str) -> SpecifierSet:
    """The version specifier under that key.

    Raises:
        UsageError: it is none.
    """
    value = table[key]
    if not isinstance(value, str):
        raise UsageError(f'{place}: {key} must be a version specifier such as ">=2", not {quoted(value)}')
    try:
        versions = SpecifierSet(value)
        versions.contains("1")  # some releases are read only when they are compared
    except (InvalidSpecifier, ValueError) as error:
        raise UsageError(f"{place}: {key}: {error}") from None
    return versions


def _requirements(table: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    names = table.get(key, [])
    if not isinstance(names, list):
        raise UsageError(f"{place}: {key} must be a list of names, not {quoted(names)}")
    for name in names:
        if name not in list(REQUIREMENTS):
            raise UsageError(f"{place}: {key} names {quoted(name)}; allowed are {enumerated(REQUIREMENTS)}")
    return tuple(names)


def require_text(table: Mapping[str, Any], keys: Collection[str], place: str) -> None:
    """Check that each key holds a non-empty string.

    Raises:
        UsageError: one is missing, empty or of another type.
    """
    for key in keys:
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise UsageError(f"{place}: {key} must be a non-empty string, not {quoted(table.get(key))}")


def require_pattern(table: Mapping[str, Any], key: str, place: str) -> str:
    """The regular expression under that key; one that matches everything where there is none.

    Raises:
        UsageError: it is none.
    """
    pattern = table.get(key, "")
    if not isinstance(pattern, str):
        raise UsageError(f"{place}: {key} must be a regular expression, not {quoted(pattern)}")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:  # of numbers and brackets beyond what it can count
        raise UsageError(f"{place}: {key} {quoted(pattern)} is not a regular expression: {error}") from None
    return pattern


def require_url(url: object, place: str) -> str:
    """The web address.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(url, str) or not re.match(r"https?://\w", url) or not url.isprintable() or " " in url:
        raise UsageError(f"{place}: url {quoted(url)} is not a web address, as in https://...")
    return url


def _rule(table: dict[str, Any], place: str, architectures: Collection[str], *, ours: bool) -> Rule:
    unknown = set(table) - _RULE_KEYS
    if unknown:
        raise UsageError(f"{place}: unknown key {quoted(min(unknown))}; allowed are {', '.join(sorted(_RULE_KEYS))}")
    require_text(table, ("cells", "outcome", "source"), place)
    try:
        selection = parse_selection(table["cells"], architectures, absent=ours)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    if table["outcome"] not in list(Outcome):
        raise UsageError(f"{place}: outcome {quoted(table['outcome'])}; allowed are {', '.join(Outcome)}")
    outcome = Outcome(table["outcome"])
    described = {"phase", "type", "message", "cause"} & set(table)
    if outcome is Outcome.REFUSED or (outcome is Outcome.UNAVAILABLE and described):
        require_text(table, ("phase", "type", "message"), place)
        if not all(name.isidentifier() for name in table["type"].split("|")):
            raise UsageError(f"{place}: type {quoted(table['type'])}: the names of classes, with | between several")
    elif described:
        raise UsageError(f"{place}: a rule that says {outcome} has no phase, type, message or cause")
    missing = _requirements(table, "missing", place)
    if bool(missing) != (outcome is Outcome.UNAVAILABLE):
        raise UsageError(f"{place}: missing = [what is not here] goes with unavailable, and only with it")
    if "phase" in table and table["phase"] not in _PHASES:
        raise UsageError(f"{place}: phase {quoted(table['phase'])}; allowed are {', '.join(_PHASES)}")
    require_pattern(table, "message", place)
    require_pattern(table, "cause", place)
    runs = table.get("phase") == _RUN
    expectation = Expectation(
        outcome,
        source=table["source"],
        phase=Phase(table["phase"]) if "phase" in table and not runs else None,
        type=table.get("type"),
        message=table.get("message"),
        cause=table.get("cause"),
        missing=missing,
    )
    when_run = {phase: replace(expectation, phase=phase) for phase in Phase} if runs else {}
    return Rule(selection, read_condition(table.get("when", {}), place), expectation, when_run, place)
