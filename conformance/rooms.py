"""How the rooms of a cell are done: their halves, found by their names."""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from matrix.cell import Cell
from matrix.quantisers import QUANTISATIONS
from matrix.rooms import Room, said_of


@dataclass(frozen=True)
class Does:
    """What the halves of a cell's rooms provide, and what their other halves say of it.

    A reproducing script has an object of the same attributes.
    """

    run: Any  # workload: (model, batch, course) -> what it found
    inputs: str  # workload: what kind of batch it begins with
    load_arguments: Any  # quantiser: (quantisation, dtype) -> what from_pretrained is given
    stored_as: Any  # quantiser: (module) -> format, or None if it is not the quantiser's
    spell_out: Any  # quantiser: (model, load_quantised, device, golden) gives the model plain weights
    written: bool  # quantiser: whether a checkpoint is written in its format, and load_quantised gives the folder of it
    quantised: bool  # whether weights, or what waits in the cache, have fewer bits than the dtype
    rounds: bool  # cache: whether that is so of what waits there
    ops: tuple[str, ...]  # quantiser: namespaces, or whole names of ops
    placed_first: bool  # quantiser: whether the device_map has a say in what the weights become
    placing: Any  # placement: (placement, make_empty) -> what from_pretrained is given
    processes: int  # placement: among how many the weights are divided
    transform: Any  # transformation: (model, course) -> model
    generation_arguments: Any  # cache: (cache) -> what generate is given
    kept: Any  # cache: (cache, states) -> what is left of keys or values that have waited there
    write: Any = None  # quantiser, where `written`: (quantisation, plain, folder) writes a checkpoint and its twin


def half(room: Room) -> ModuleType:
    """The module in which a room is done."""
    return import_module(f"conformance.{room.package}.{room.half}")


def doing(cell: Cell) -> Does:
    """The halves of a cell's rooms."""
    provided = {name: getattr(half(room), name) for room in cell.rooms for name in room.provided}
    return Does(**provided, **said_of(cell))


@cache
def quantisers() -> tuple[ModuleType, ...]:
    """The half of every quantiser."""
    return tuple({room.half: half(room) for room in QUANTISATIONS.values()}.values())


def stored_as(module: Any) -> str | None:
    """The format in which some quantiser keeps a module's weight; None if the module is none of theirs."""
    found = (quantiser.stored_as(module) for quantiser in quantisers())
    return next((form for form in found if form is not None), None)
