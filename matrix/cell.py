"""One point of the matrix, the axes that it is a point of, and the id that names it."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from typing import Any

from matrix.architectures import ARCHITECTURE_NAME
from matrix.axes import Attention, Dtype, Padding, SdpaKernel
from matrix.caches import CACHES
from matrix.errors import UsageError, enumerated, quoted
from matrix.placements import PLACEMENTS
from matrix.quantisers import QUANTISATIONS
from matrix.rooms import Cache, Placement, Quantisation, Room, Transformation, Workload
from matrix.transformations import TRANSFORMATIONS
from matrix.workloads import WORKLOADS


@dataclass(frozen=True)
class Axis:
    """One axis: its values by their spelling, in order, and what plans must know of it."""

    name: str
    values: Mapping[str, Any]  # members of an enum, or rooms
    silent: str | None  # the value that says "nothing special" and is left out of ids
    place: int  # in the order of a plan: what is expensive to change comes first
    factor: str  # what a covering plan counts it as; axes of one factor are one choice
    families: Mapping[str, frozenset[str]]  # other names by which selections mean several values


def _axis(
    values: Any, *, place: int, default: str | None = None, silent: bool = True, factor: str | None = None
) -> Any:
    """A field of a cell that is an axis. Its default, where it has one, is silent unless that is denied."""
    named: dict[str, Any] = dict(values) if isinstance(values, dict) else {value.value: value for value in values}
    about = {"values": named, "place": place, "factor": factor, "silent": default if silent else None}
    return field(default=MISSING if default is None else named[default], metadata=about)


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of axis values. Hashable, ordered by plan, the same on every machine.

    Its fields are the table of the axes: their order is that of an id, and ids, plans, selections, the page and the
    report follow from it.
    """

    architecture: str
    dtype: Dtype = _axis(Dtype, place=0)
    attention: Attention = _axis(Attention, place=4, factor="backend")
    sdpa_kernel: SdpaKernel = _axis(SdpaKernel, place=5, default="unpinned", factor="backend")
    quantisation: Quantisation = _axis(QUANTISATIONS, place=1, default="none")
    transformation: Transformation = _axis(TRANSFORMATIONS, place=6, default="none")
    device_map: Placement = _axis(PLACEMENTS, place=7, default="none")
    padding: Padding = _axis(Padding, place=2, default="none")
    cache: Cache = _axis(CACHES, place=8, default="dynamic")
    workload: Workload = _axis(WORKLOADS, place=3, default="prefill", silent=False)

    @property
    def values(self) -> tuple[str, ...]:
        """The values in canonical order: the architecture, then those of AXES."""
        return self.architecture, *_values_of(self)

    @property
    def rooms(self) -> tuple[Room, ...]:
        """Those of its values that are rooms."""
        found: tuple[Room, ...] = _rooms_of(self)
        return found

    @property
    def id(self) -> str:
        """Short readable name, such as `llama-bfloat16-sdpa-flash-nf4-left-generate`."""
        spoken = [value for value, silent in zip(_values_of(self), _SILENT, strict=True) if value != silent]
        return "-".join([self.architecture, *spoken])

    def axis_values(self) -> Iterator[tuple[str, str]]:
        """The (axis, value) pairs in canonical order, values as plain strings."""
        for axis, value in zip(("architecture", *AXES), self.values, strict=True):
            yield axis, str(value)

    def __str__(self) -> str:
        return self.id


def _families(values: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    named = {room.family for room in values.values() if isinstance(room, Room) and room.family}
    return {family: frozenset(name for name, room in values.items() if room.family == family) for family in named}


AXES: dict[str, Axis] = {
    field.name: Axis(
        name=field.name,
        values=field.metadata["values"],
        silent=field.metadata["silent"],
        place=field.metadata["place"],
        factor=field.metadata["factor"] or field.name,
        families=_families(field.metadata["values"]),
    )
    for field in fields(Cell)
    if field.metadata
}
_values_of = attrgetter(*AXES)
_rooms_of = attrgetter(*(axis.name for axis in AXES.values() if isinstance(next(iter(axis.values.values())), Room)))
_SILENT = [axis.silent for axis in AXES.values()]
SILENT: dict[str, str] = {axis.name: axis.silent for axis in AXES.values() if axis.silent is not None}
# The tokens of an id are unique across the axes (a test holds them to it), which is what lets an id be parsed back.
_TOKENS: dict[str, tuple[str, Any]] = {
    spelled: (axis.name, value)
    for axis in AXES.values()
    for spelled, value in axis.values.items()
    if spelled != axis.silent
}


def make_cell(architecture: str, **names: str) -> Cell:
    """The cell with these values, by their spelling; what is not named keeps its default."""
    return Cell(architecture, **{axis: AXES[axis].values[name] for axis, name in names.items()})


def parse_cell(cell_id: str) -> Cell:
    """The cell that an id names.

    Raises:
        UsageError: the id has an unknown, repeated, misplaced or missing part.
    """
    architecture, *tokens = cell_id.split("-")
    if not ARCHITECTURE_NAME.fullmatch(architecture):
        raise UsageError(f"cell id {quoted(cell_id)}: {quoted(architecture)} is not the name of an architecture")
    chosen: dict[str, Any] = {}
    order = list(AXES)
    for token in tokens:
        if token not in _TOKENS:
            allowed = enumerated(_TOKENS)
            raise UsageError(f"cell id {quoted(cell_id)}: unknown part {quoted(token)}; allowed are {allowed}")
        axis, value = _TOKENS[token]
        if chosen and order.index(axis) <= max(order.index(seen) for seen in chosen):
            raise UsageError(f"cell id {quoted(cell_id)}: {token!r} is repeated or out of order; the order is {order}")
        chosen[axis] = value
    missing = [axis for axis in order if axis not in chosen and axis not in SILENT]
    if missing:
        raise UsageError(f"cell id {quoted(cell_id)}: no value for {', '.join(missing)}")
    return Cell(architecture, **chosen)
