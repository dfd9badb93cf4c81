"""Sets of cells by axis values: `architecture=llama,falcon dtype=!float32`. Used by --cells, rules and waivers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from matrix.cell import AXES, Cell
from matrix.errors import UsageError


@dataclass(frozen=True)
class Selection:
    """The cells whose every named axis has one of the allowed values."""

    text: str
    allowed: Mapping[str, frozenset[str]]

    def __contains__(self, cell: Cell) -> bool:
        return all(str(getattr(cell, axis)) in values for axis, values in self.allowed.items())

    def could_contain(self, axis: str, value: str) -> bool:
        """Whether a cell with this axis value can be in the selection at all."""
        return axis not in self.allowed or value in self.allowed[axis]


def parse_selection(
    text: str, architectures: Collection[str], aside: Mapping[str, frozenset[str]] | None = None
) -> Selection:
    """Read `axis=value[,value…]` clauses, separated by spaces; `axis=!value[,…]` means all but those.

    A family's name stands for its values: `quantisation=bitsandbytes`, `workload=relation`. `aside` are values by axis
    that are meant only where they are named themselves.

    Raises:
        UsageError: a clause that is not of that form, an unknown axis or value, an axis given twice.
    """
    aside = aside or {}
    allowed: dict[str, frozenset[str]] = {}
    for clause in text.split():
        axis, equals, listed = clause.partition("=")
        if not equals or not listed.strip("!"):
            raise UsageError(f"cells {text!r}: {clause!r} is not of the form axis=value[,value…]")
        if axis != "architecture" and axis not in AXES:
            raise UsageError(f"cells {text!r}: unknown axis {axis!r}; allowed are architecture, {', '.join(AXES)}")
        known = list(architectures) if axis == "architecture" else list(AXES[axis].values)
        families = {} if axis == "architecture" else AXES[axis].families
        names = frozenset(listed.removeprefix("!").split(","))
        for name in sorted(names - set(known) - set(families)):
            raise UsageError(f"cells {text!r}: unknown {axis} {name!r}; allowed are {', '.join([*known, *families])}")
        if axis in allowed:
            raise UsageError(f"cells {text!r}: {axis} is given twice; write {axis}=a,b")
        named = names & set(known)
        values = named.union(*(families[name] for name in names if name in families))
        meant = frozenset(known) - values if listed.startswith("!") else values
        allowed[axis] = meant - (aside.get(axis, frozenset()) - (frozenset() if listed.startswith("!") else named))
    for axis, values in aside.items():
        allowed.setdefault(axis, frozenset(AXES[axis].values) - values)
    return Selection(text, allowed)
