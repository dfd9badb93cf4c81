"""Cells as pytest items: made straight from the plan, without importing torch, ten thousand in a moment."""

import contextlib
import gc
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Any

import pytest

from matrix.cell import AXES, Cell

_EVERY_CELL = "runs_once_for_every_cell"


def every_cell(function: Callable[..., None]) -> Callable[..., None]:
    """Make a test function run once for every cell of the plan; it is given `cell` and `measure`."""
    setattr(function, _EVERY_CELL, True)
    return function


def is_every_cell(candidate: object) -> bool:
    """Whether a module's attribute is such a function."""
    return getattr(candidate, _EVERY_CELL, False) is True


class CellItem(pytest.Item):
    """One cell. A plain item, not a parametrized function: that takes a third of the time to collect."""

    def __init__(self, *, cell: Cell, function: Callable[..., None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = cell
        self.record_json: str | None = None  # for the report of the call phase
        self._function = function
        self.own_markers = [_mark(value) for value in cell.values]

    def runtest(self) -> None:
        """Call the test function; what it recorded is kept even when it fails."""
        from conformance.plugin.measuring import MEASURE

        measure = self.config.stash[MEASURE]
        try:
            self._function(cell=self.cell, measure=measure)
        finally:
            self.record_json = measure.take_record()
            if self.record_json is not None:
                # For JUnit XML, in which a refusal would else look like support.
                self.user_properties.append(("verdict", json.loads(self.record_json)["verdict"]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The values and the reproducing command; a traceback only for faults of the suite itself.

        For each frame of one pytest parses a whole source file: up to a quarter of a second for a cell that is waived.
        """
        from conformance.plugin.measuring import NotAsDocumented

        if isinstance(excinfo.value, (NotAsDocumented, pytest.xfail.Exception)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """File, line and name, for terminal and JUnit."""
        return self.path, None, self.name


def make_items(
    collector: pytest.Collector, name: str, function: Callable[..., None], plan: list[Cell]
) -> list[CellItem]:
    """One item per cell of the plan."""
    items = []
    for cell in plan:
        item_name = f"{name}[{cell.id}]"
        # Spelled out, so that pytest sees the brackets as parameters: --lf compares ids by their parts.
        nodeid = f"{collector.nodeid}::{item_name}"
        items.append(CellItem.from_parent(collector, name=item_name, nodeid=nodeid, cell=cell, function=function))
    return items


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Tens of thousands of items that all live on: the collector would only walk them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def mark_names(architectures: list[str]) -> list[str]:
    """The marks that cells carry: their axis values, as in `-m "llama and nf4"`."""
    return [*architectures, *{name for axis in AXES.values() for name in axis.values}]


def cell_id_of(nodeid: str) -> str | None:
    """The cell id in a node id, or None for other tests."""
    if "::test_cell[" not in nodeid or not nodeid.endswith("]"):
        return None
    return nodeid.partition("::test_cell[")[2][:-1]


def not_planned(arguments: Iterable[str], plan: Collection[Cell]) -> str | None:
    """The first cell that is named by its node id, `path::test_cell[ID]`, and is not in the plan."""
    named = [cell for argument in arguments if (cell := cell_id_of(argument)) is not None]
    planned = {cell.id for cell in plan} if named else set()
    return next((cell for cell in named if cell not in planned), None)


@cache
def _mark(value: str) -> pytest.Mark:
    found: pytest.Mark = getattr(pytest.mark, value).mark
    return found
