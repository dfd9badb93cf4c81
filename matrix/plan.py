"""From axes and a profile to an ordered list of cells. Pure: ten thousand cells take a moment."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter, itemgetter
from pathlib import Path

from matrix.architectures import Architecture
from matrix.cell import AXES, SILENT, Cell, make_cell, parse_cell
from matrix.constraints import why_impossible
from matrix.errors import UsageError, enumerated, quoted
from matrix.files import read_toml
from matrix.guide import load_guide
from matrix.rooms import Room
from matrix.rows import Family
from matrix.selection import Selection, parse_selection

PROFILES_FILE = Path(__file__).parent / "profiles.toml"


def _profiles_of(value: object) -> Mapping[str, str | tuple[str, ...]] | None:
    return value.profiles if isinstance(value, Room) else None


_ORDER = sorted(AXES, key=lambda axis: AXES[axis].place)
_AXES = list(AXES)
_combination = attrgetter(*_AXES)
_in_order_of_fields = itemgetter(*(_ORDER.index(axis) for axis in AXES))
_PLACES = {(axis.name, value): place for axis in AXES.values() for place, value in enumerate(axis.values)}
# Values that say themselves where they are tried.
_ASIDE = {
    axis.name: frozenset(name for name, value in axis.values.items() if _profiles_of(value) is not None)
    for axis in AXES.values()
}

# What `cover` keeps the interactions of: an SDPA kernel is part of the backend, and the three choices that people make
# together are covered in every combination.
_FACTORS = {
    factor: tuple(axis.name for axis in AXES.values() if axis.factor == factor)
    for factor in dict.fromkeys(axis.factor for axis in AXES.values())
}
_TOGETHER = ("dtype", "backend", "quantisation")


@dataclass(frozen=True)
class Profile:
    """A named recipe of a plan."""

    name: str
    about: str
    cells: tuple[str, ...]  # selections, added up; none in `guide`, whose recipes name theirs
    rows: tuple[Family, ...]  # what is tried beside them
    cover: bool = False  # thin each selection out

    def selections(self, architectures: Collection[str]) -> list[Selection]:
        """Its selections, read."""
        if Family.GUIDE in self.rows:
            return [cells for recipe in load_guide().recipes for cells in recipe.selections(architectures)]
        named = [parse_selection(text, architectures, _ASIDE, absent=True) for text in self.cells]
        return [*named, *self._of_rooms(architectures)]

    def _of_rooms(self, architectures: Collection[str]) -> Iterable[Selection]:
        """The cells that rooms themselves want to be tried in."""
        for axis in AXES.values():
            for name, room in axis.values.items():
                wanted = (_profiles_of(room) or {}).get(self.name, ())
                for text in (wanted,) if isinstance(wanted, str) else wanted:
                    yield parse_selection(f"{axis.name}={name} {text}", architectures, _ASIDE)


def load_profiles() -> dict[str, Profile]:
    """The profiles by name."""
    return {
        name: Profile(
            name, table["about"], tuple(table["cells"]), tuple(map(Family, table["rows"])), table.get("cover", False)
        )
        for name, table in read_toml(PROFILES_FILE).items()
    }


def make_plan(
    profile_name: str, architectures: Mapping[str, Architecture], narrow: Selection | None = None
) -> list[Cell]:
    """The cells of a profile, narrowed to a selection, ordered so that expensive things change rarely.

    Raises:
        UsageError: there is no such profile, an architecture names one that there is not, or no cell is left.
    """
    profiles = load_profiles()
    if profile_name not in profiles:
        raise UsageError(f"unknown profile {quoted(profile_name)}; allowed are {enumerated(profiles)}")
    for name, architecture in architectures.items():
        for strange in sorted(set(architecture.profiles) - set(profiles)):
            raise UsageError(
                f"architecture {name}: unknown profile {quoted(strange)}; allowed are {', '.join(profiles)}"
            )
    profile = profiles[profile_name]
    selections = profile.selections(architectures)
    named = narrow is not None and "architecture" in narrow.allowed
    cells: list[Cell] = []
    for name, architecture in architectures.items():
        tried = not architecture.profiles or profile_name in architecture.profiles or named
        if tried and (narrow is None or narrow.could_contain("architecture", name)):
            # Choosing first and narrowing after keeps a cell's membership independent of what else is asked for.
            cells += _cells_of(profile, selections, {name: architecture}, narrow)
    if not cells:
        raise UsageError(f"no cell of profile {profile_name!r} matches {quoted(narrow.text if narrow else '')}")
    return cells


def _cells_of(
    profile: Profile, selections: Sequence[Selection], one: Mapping[str, Architecture], narrow: Selection | None
) -> list[Cell]:
    """The cells of one architecture, in plan order; of one that cannot be built a single one, which says why."""
    unbuilt = [make_cell(name, dtype="float32", attention="eager") for name, known in one.items() if known.unbuilt]
    if unbuilt:
        return [cell for cell in unbuilt if narrow is None or cell in narrow]
    if profile.cover:
        covering = [cell for selection in selections for cell in cover(valid_cells(one, selection))]
        cells = [cell for cell in covering if narrow is None or cell in narrow]
    else:
        cells = [cell for selection in selections for cell in valid_cells(one, selection, narrow)]
    return cells if len(selections) == 1 else sorted(set(cells), key=_place_in_plan)


def _place_in_plan(cell: Cell) -> tuple[int, ...]:
    return tuple(_PLACES[axis, getattr(cell, axis)] for axis in _ORDER)


def valid_cells(architectures: Mapping[str, Architecture], *narrowing: Selection | None) -> list[Cell]:
    """Every cell that can exist and is in all selections, in plan order: architecture, weights, the rest."""

    def wanted(axis: str, value: str) -> bool:
        return all(selection is None or selection.could_contain(axis, value) for selection in narrowing)

    *values, caches = [[value for name, value in AXES[axis].values.items() if wanted(axis, name)] for axis in _ORDER]
    # Most workloads have no choice of cache: to try every one with each takes three times as long.
    usual = [kind for kind in caches if kind == SILENT["cache"]]
    workload = _ORDER.index("workload")
    cells = []
    for name, architecture in architectures.items():
        if not wanted("architecture", name):
            continue
        for chosen in itertools.product(*values):
            for kind in caches if chosen[workload].decodes else usual:
                cell = Cell(name, *_in_order_of_fields((*chosen, kind)))
                if why_impossible(cell, architecture) is None:
                    cells.append(cell)
    return cells


def covered_axes(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """Which axes' combinations a cover of these cells keeps: of any two choices, and of the three made together.

    An axis that is at its silent value throughout is no choice.
    """
    used = {axis.name for axis in AXES.values() if any(getattr(cell, axis.name) != axis.silent for cell in cells)}
    factors = {factor: axes for factor, axes in _FACTORS.items() if used & set(axes)}
    pairs = [one + other for one, other in itertools.combinations(factors.values(), 2)]
    together = [factors[factor] for factor in _TOGETHER if factor in factors]
    return [*pairs, tuple(axis for axes in together for axis in axes)]


def cover(cells: Sequence[Cell]) -> list[Cell]:
    """A small subset of `cells` in which every interaction that occurs in `cells` still occurs.

    Lazy greedy set cover: a cell's gain only ever falls, so a cell whose gain is still what it was
    when last looked at is the best one. The result keeps the order of `cells`.
    """
    if not cells:
        return []
    # Most architectures allow the same combinations.
    return [cells[index] for index in _covering(tuple(map(_combination, cells)), tuple(covered_axes(cells)))]


@cache
def _covering(combinations: tuple[tuple[str, ...], ...], covered: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    """The places of those that are chosen among combinations of all axes."""
    # The interactions that each contributes: the values of those axes together.
    together = [(number, itemgetter(*map(_AXES.index, axes))) for number, axes in enumerate(covered)]
    gains = [{(number, of(values)) for number, of in together} for values in combinations]
    uncovered: set[tuple[object, ...]] = set().union(*gains)
    by_gain: dict[int, list[int]] = {}
    for index, gain in enumerate(gains):
        by_gain.setdefault(len(gain), []).append(index)
    chosen: list[int] = []
    level = max(by_gain)
    while uncovered and level:
        for index in by_gain.pop(level, []):
            gain = gains[index] & uncovered
            if len(gain) == level:
                chosen.append(index)
                uncovered -= gain
            else:
                gains[index] = gain
                by_gain.setdefault(len(gain), []).append(index)
        level -= 1
    return tuple(sorted(chosen))


def named_cell(cell_id: str, architectures: Mapping[str, Architecture]) -> Cell:
    """The cell that an id names, if there is such an architecture and such a cell can be.

    Raises:
        UsageError: the id does not parse, its architecture is unknown, or the cell is impossible.
    """
    cell = parse_cell(cell_id)
    if cell.architecture not in architectures:
        raise UsageError(
            f"cell id {quoted(cell_id)}: unknown architecture {quoted(cell.architecture)}; "
            f"allowed are {enumerated(architectures)}"
        )
    impossible = why_impossible(cell, architectures[cell.architecture])
    if impossible:
        raise UsageError(f"cell id {quoted(cell_id)}: {impossible}")
    return cell
