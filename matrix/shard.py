"""A plan divided among machines that do not know of each other: the same parts on each, whatever its speed."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matrix.cell import Cell
from matrix.costs import load_costs
from matrix.errors import UsageError

_FORM = re.compile(r"([0-9]{1,6})/([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One of the parts of a plan, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Read `2/3`.

    Raises:
        UsageError: it is not of that form, or there is no such part.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"--shard {text}: must be I/N, as in 2/3")
    shard = Shard(int(found[1]), int(found[2]))
    if not 1 <= shard.number <= shard.of:
        raise UsageError(f"--shard {text}: I must be from 1 to N")
    return shard


def too_many(shard: Shard) -> UsageError:
    """What to say where a plan has fewer tests than it is to have shards."""
    return UsageError(f"--shard {shard}: there are fewer than {shard.of} tests; ask for fewer shards")


@dataclass(frozen=True)
class _Unit:
    """What stays in one shard."""

    places: tuple[int, ...]
    architecture: str
    cost: float


def divide(cells: Sequence[Cell], rows: Sequence[str], shards: int) -> tuple[list[int], list[int]]:
    """The number of the shard, from 1, of each cell and of each row, by what they cost.

    Cells that share golden and baseline stay together. Each architecture is dealt out by itself: which of them are slow
    depends on releases and devices, so a shard of whole architectures would take as long as nobody foresaw. Where the
    cells are does not depend on the rows, which fill up what is light. With at least as many tests as shards none
    is empty.
    """
    costs = load_costs()
    of_cells, of_rows = [0] * len(cells), [0] * len(rows)
    units = list(_units(cells))
    if len(units) < shards:
        units = [_Unit((place,), cell.architecture, costs.of_cell(cell)) for place, cell in enumerate(cells)]
    loads = [0.0] * shards
    within: dict[str, list[float]] = {unit.architecture: [0.0] * shards for unit in units}
    for left, unit in _largest_first(units):
        own = within[unit.architecture]
        # A difference within an architecture counts as if there were no other.
        chosen = min(_open(loads, left), key=lambda shard: loads[shard] + len(within) * own[shard])
        loads[chosen] += unit.cost
        own[chosen] += unit.cost
        for place in unit.places:
            of_cells[place] = chosen + 1
    for left, unit in _largest_first([_Unit((place,), "", costs.of_row(key)) for place, key in enumerate(rows)]):
        chosen = min(_open(loads, left), key=loads.__getitem__)
        loads[chosen] += unit.cost
        of_rows[unit.places[0]] = chosen + 1
    return of_cells, of_rows


def _units(cells: Sequence[Cell]) -> Iterable[_Unit]:
    """Cells that are alike in all that their references are made of."""
    costs = load_costs()
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, cell in enumerate(cells):
        key = cell.architecture, *map(str, (cell.dtype, cell.quantisation, cell.padding, cell.workload))
        alike.setdefault(key, []).append(place)
    for key, places in alike.items():
        yield _Unit(tuple(places), key[0], sum(costs.of_cell(cells[place]) for place in places))


def _largest_first(units: Sequence[_Unit]) -> Iterable[tuple[int, _Unit]]:
    """Each with how many are left, itself among them."""
    ordered = sorted(units, key=lambda unit: -unit.cost)
    return zip(range(len(ordered), 0, -1), ordered, strict=True)


def _open(loads: Sequence[float], left: int) -> Sequence[int]:
    """The shards that the next of so many may go to: the empty ones, when there are no more units than those."""
    empty = [shard for shard, load in enumerate(loads) if not load]
    return empty if 0 < len(empty) >= left else range(len(loads))
