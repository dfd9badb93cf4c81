"""What is tried, told once and without torch: a room is a value of an axis that knows what it is.

How it is done stands, with torch, in a file of the same name: `matrix/workloads/beam.py` says what beam search is to a
plan, a rule and a page, `conformance/workloads/beam.py` does it. Nothing else knows either by name.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar, Self, TypeVar

from matrix.architectures import Architecture
from matrix.observation import Evidence, Phase

# A Cell. It is made of rooms, so that they cannot know its class.
Values = Any
Impossible = Callable[[Values, Architecture], str | None]
Substituted = Callable[[Values, Architecture, Evidence, str], Iterator[str]]  # the last is the device

_LAST = 1000


class Inputs(StrEnum):
    """What a workload begins with; conformance/models/batches.py has the lengths."""

    PREFILL = "prefill"  # long rows, and tokens for a decoder
    GENERATE = "generate"  # prompts, to which new tokens come
    CONTINUE = "continue"  # prompts shorter than any window


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Room(str):
    """A value of an axis. It is a string, its name, as it stands in ids, files and reports."""

    package: ClassVar[str]  # of matrix/ and of conformance/, in which it and its half stand
    provides: ClassVar[tuple[str, ...]]  # the functions of its half
    by_family: ClassVar[bool] = False  # whether the rooms of a family are done in one module, which it names

    name: str
    about: str  # for people
    place: int = _LAST  # among its like, in plans and on pages
    family: str = ""  # another name by which selections mean it, with all of its family
    needs: tuple[str, ...] = ()  # distributions without which it cannot be tried
    # Where it is tried: profile -> which cells, all with this value, or several such selections, added up. None for a
    # value that every selection of a profile means which does not say otherwise; one with profiles of its own is in
    # those alone that name it.
    profiles: Mapping[str, str | tuple[str, ...]] | None = None
    impossible: Impossible | None = None  # why a cell with this value cannot exist, or None
    substituted: Substituted | None = None  # what the evidence shows instead of what this value names

    def __new__(cls, *, name: str, **known: object) -> Self:
        """A string that is the room's name."""
        return super().__new__(cls, name)

    @property
    def provided(self) -> tuple[str, ...]:
        """The functions of its half that it is done with."""
        return self.provides

    @property
    def half(self) -> str:
        """The module in which it is done, beside its like."""
        return (self.family if self.by_family else "") or self.name


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Workload(Room):
    """What is done with the loaded model. One with two runs is a relation: they must agree, whatever is true."""

    package = "workloads"
    provides = ("run",)

    phases: tuple[Phase, ...]  # that it goes through once the model is in place; the first is what rules call `run`
    judged: str  # by what, in words
    inputs: Inputs = Inputs.PREFILL
    runs: int = 1  # of the candidate, that are held against each other
    decodes: bool = False  # whether it generates with the cell's kind of cache
    priced_by: str = ""  # what is timed of it beside a cell's twin, a `pass` or a `token`; empty where nothing is
    dequantises: bool = False  # whether what runs has plain weights, whatever it was loaded with

    @property
    def is_relation(self) -> bool:
        """Whether two runs of the candidate are held against each other."""
        return self.runs == 2


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Quantisation(Room):
    """A format of weights. Several may be of one quantiser, which is their family and the name of their half."""

    package = "quantisers"
    provides = ("load_arguments", "stored_as", "spell_out")
    by_family = True

    module: str = ""  # class of the modules that hold such weights
    stored_as: str = ""  # what the quantiser's half calls weights in this format
    ops: tuple[str, ...] = ()  # namespaces of ops, or whole names, one of which must have run
    skips: tuple[str, ...] = ()  # how the names of modules end that it is told to leave as they are
    placed_first: bool = False  # whether weights are quantised where the device_map puts them, not before
    written: bool = False  # whether a checkpoint is written in this format first, by `write` of its half
    # What a library says when it dequantises such a checkpoint at load, a regular expression; empty if it never may.
    dequantised: str = ""

    @property
    def provided(self) -> tuple[str, ...]:
        """The functions of its half, with the one that writes a checkpoint where there is one."""
        return (*self.provides, "write") if self.written else self.provides


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Transformation(Room):
    """What is done to the loaded model before it runs."""

    package = "transformations"
    provides = ("transform",)

    through_sdpa: bool = False  # whether eager attention goes through SDPA afterwards
    kernels: Callable[[Values, Architecture], frozenset[str]] | None = None  # that run afterwards, where others do
    compiles: bool = False  # whether torch.compile then takes longer than all the rest


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Placement(Room):
    """A device_map: where the weights go. Several may be of one family, which names their half."""

    package = "placements"
    provides = ("placing",)
    by_family = True

    processes: int = 1  # that hold the weights together; each has a GPU of its own where there are any
    on_the_cpu: bool = False  # whether all of it runs there, GPU or not: a baseline on the GPU rounds otherwise


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Cache(Room):
    """Where keys and values wait while a model generates. Several may be of one family, which names their half."""

    package = "caches"
    provides = ("generation_arguments", "kept")
    by_family = True

    rounds: bool = False  # whether it holds keys and values in fewer bits than they come in


def said_of(cell: Values) -> dict[str, Any]:
    """What the halves with torch are told of a cell's rooms, beside their names."""
    return {
        "inputs": cell.workload.inputs.value,
        "quantised": bool(cell.quantisation.stored_as) or cell.quantisation.written or cell.cache.rounds,
        "rounds": cell.cache.rounds,
        "ops": cell.quantisation.ops,
        "placed_first": cell.quantisation.placed_first,
        "written": cell.quantisation.written,
        "processes": cell.device_map.processes,
    }


Kind = TypeVar("Kind", bound=Room)


def discover(package: str, path: list[str], kind: type[Kind]) -> dict[str, Kind]:
    """The rooms of a package by name, in their order: every module's `ROOMS`."""
    found: list[Kind] = []
    for module in iter_modules(path):
        found += import_module(f"{package}.{module.name}").ROOMS
    assert all(type(room) is kind for room in found), package
    return {room.name: room for room in sorted(found, key=lambda room: (room.place, room.name))}
