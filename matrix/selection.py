"""Sets of cells by axis values: `architecture=llama,falcon dtype=!float32`. Used by --cells, rules and waivers."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from matrix.architectures import Architecture, Family
from matrix.cell import AXES, Cell
from matrix.errors import UsageError, enumerated, quoted

# Clauses that mean architectures by what is known of them, and the words of one.
_PROPERTIES: Mapping[str, Callable[[Architecture], Iterable[str]]] = {
    "traits": lambda one: one.traits,
    "family": lambda one: (one.family.value.replace(" ", "_"),),
    "declares": lambda one: (flag for flag, said in one.flags.items() if said),
    "denies": lambda one: (flag for flag, said in one.flags.items() if not said),
}
_BLANKS = re.compile(r"[ \t\r\n]+")
_FAMILIES = tuple(family.value.replace(" ", "_") for family in Family)


@dataclass(frozen=True)
class Selection:
    """The cells whose every named axis has one of the allowed values."""

    text: str
    allowed: Mapping[str, frozenset[str]]

    def __contains__(self, cell: Cell) -> bool:
        return all(str(getattr(cell, axis)) in values for axis, values in self.allowed.items())

    @property
    def means_absent(self) -> bool:
        """Whether it speaks only of architectures that are not here: of another release, or not looked at."""
        return self.allowed.get("architecture") == frozenset()

    def could_contain(self, axis: str, value: str) -> bool:
        """Whether a cell with this axis value can be in the selection at all."""
        return axis not in self.allowed or value in self.allowed[axis]


def parse_selection(
    text: str,
    architectures: Collection[str],
    aside: Mapping[str, frozenset[str]] | None = None,
    *,
    absent: bool = False,
) -> Selection:
    """Read `axis=value[,value…]` clauses, separated by spaces; `axis=!value[,…]` means all but those.

    A family's name stands for its values: `quantisation=bitsandbytes`, `workload=relation`, and an architecture's for
    the checkpoints of it. Architectures are also
    meant by patterns, `architecture=gemma*`, and by what is known of them: `traits=moe,window`, `family=image`, and
    `declares=_supports_sdpa` or `denies=_supports_sdpa` by the flags of their classes. `aside` are values by axis that
    are meant only where they are named themselves. Where architectures may be `absent`, which another release has, one
    that is unknown here means none.

    Raises:
        UsageError: a clause that is not of that form, an unknown axis or value, an axis given twice.
    """
    aside = aside or {}
    allowed: dict[str, frozenset[str]] = {}
    by_property: list[frozenset[str]] = []
    for clause in _clauses(text):
        axis, equals, listed = clause.partition("=")
        if not equals or not listed.strip("!"):
            raise UsageError(f"cells {quoted(text)}: {quoted(clause)} is not of the form axis=value[,value…]")
        if axis in _PROPERTIES:
            words = frozenset(listed.removeprefix("!").split(","))
            if axis == "family" and (strange := words - set(_FAMILIES)):
                allowed_words = enumerated(_FAMILIES)
                raise UsageError(
                    f"cells {quoted(text)}: unknown family {quoted(min(strange))}; allowed are {allowed_words}"
                )
            for word in sorted(words):
                if not word.isidentifier():  # beyond that the names are the library's
                    raise UsageError(f"cells {quoted(text)}: {axis} has no word {quoted(word)}")
            by_property.append(_with_property(axis, words, architectures, but=listed.startswith("!")))
            continue
        if axis != "architecture" and axis not in AXES:
            known_axes = enumerated(["architecture", *_PROPERTIES, *AXES])
            raise UsageError(f"cells {quoted(text)}: unknown axis {quoted(axis)}; allowed are {known_axes}")
        known = list(architectures) if axis == "architecture" else list(AXES[axis].values)
        families = _kin(architectures) if axis == "architecture" else AXES[axis].families
        names = frozenset(listed.removeprefix("!").split(","))
        if axis == "architecture":
            names = _spelled_out(names, [*known, *families])
        if axis == "architecture" and absent:
            names &= {*known, *families}
        for name in sorted(names - set(known) - set(families)):
            allowed_names = enumerated([*known, *families])
            raise UsageError(f"cells {quoted(text)}: unknown {axis} {quoted(name)}; allowed are {allowed_names}")
        if axis in allowed:
            raise UsageError(f"cells {quoted(text)}: {axis} is given twice; write {axis}=a,b")
        named = names & set(known)
        values = named.union(*(families[name] for name in names if name in families))
        meant = frozenset(known) - values if listed.startswith("!") else values
        allowed[axis] = meant - (aside.get(axis, frozenset()) - (frozenset() if listed.startswith("!") else named))
    for meant in by_property:
        allowed["architecture"] = allowed.get("architecture", frozenset(architectures)) & meant
    for axis, values in aside.items():
        allowed.setdefault(axis, frozenset(AXES[axis].values) - values)
    return Selection(text, allowed)


def _clauses(text: str) -> list[str]:
    """The clauses between blanks; what only Unicode calls a blank is part of one, to be turned down."""
    return [clause for clause in _BLANKS.split(text) if clause]


def _kin(architectures: Collection[str]) -> dict[str, frozenset[str]]:
    """The checkpoints of somebody's by the architecture that they are of: what is said of that is said of them."""
    found: dict[str, frozenset[str]] = {}
    for name, one in architectures.items() if isinstance(architectures, Mapping) else ():
        if one.like:
            found[one.like] = found.get(one.like, frozenset()) | {name}
    return found


def _spelled_out(names: frozenset[str], known: Collection[str]) -> frozenset[str]:
    """Patterns with `*` replaced by the names that they match; one that matches none stays, to be turned down."""
    found: set[str] = set()
    for name in names:
        matching = [one for one in known if fnmatchcase(one, name)] if "*" in name else []
        found.update(matching or [name])
    return frozenset(found)


def _with_property(what: str, words: frozenset[str], architectures: Collection[str], *, but: bool) -> frozenset[str]:
    """The architectures with one of the words, or all `but` those."""
    known = architectures if isinstance(architectures, Mapping) else {}
    having = {name for name, one in known.items() if words & set(_PROPERTIES[what](one))}
    return frozenset(set(architectures) - having if but else having)


def means_installed(text: str, typed: Collection[str], may_be_installed: Callable[[str], bool]) -> bool:
    """Whether a selection speaks of architectures beyond those that somebody typed, as far as the library may have."""
    for clause in _clauses(text):
        axis, _, listed = clause.partition("=")
        if axis in _PROPERTIES:
            return True
        if axis == "architecture":
            names = set(listed.removeprefix("!").split(","))  # each is looked up once, however often it is named
            return any("*" in name or (name not in typed and may_be_installed(name)) for name in names)
    return False
