"""Which cell meets which trouble, and when. Handed from process to process as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter

from matrix.cell import parse_cell
from matrix.errors import UsageError

VARIABLE = "CONFORMANCE_TROUBLE"


class Moment(StrEnum):
    """When trouble strikes in the life of a cell."""

    LOAD = "load"  # in from_pretrained, with the weights read
    FORWARD = "forward"  # as the model is called
    GENERATE = "generate"  # in a later step of generate
    AFTER = "after"  # when all numbers of the cell are known


@dataclass(frozen=True)
class Orders:
    """What is planted into one run."""

    planted: Mapping[str, tuple[str, Moment]] = field(default_factory=dict)  # cell id -> name of the trouble, when
    report_dir: str = ""
    grace: float = 30.0  # seconds after a cell's time limit until its process ends

    @property
    def struck(self) -> Path:
        """Where cells in which trouble has struck are named, a line each; beside the report, which may be deleted."""
        return Path(self.report_dir).with_suffix(".struck")

    @staticmethod
    def here() -> Orders:
        """Those of this process's environment; none if it has none."""
        return Orders.read(os.environ.get(VARIABLE) or "{}")

    @staticmethod
    def read(line: str) -> Orders:
        """What `line` has written."""
        return _ORDERS.validate_json(line)

    def line(self) -> str:
        """As one line of JSON."""
        return _ORDERS.dump_json(self).decode()


def deal(cells: Iterable[str], troubles: Iterable[tuple[str, Moment]]) -> dict[str, tuple[str, Moment]]:
    """A cell that has its moment for each trouble, in the order of the cells; between any two one is left alone.

    Raises:
        UsageError: there are not enough cells.
    """
    waiting, found, free = list(troubles), dict[str, tuple[str, Moment]](), True
    for cell in cells:
        own = _MOMENT_OF.get(str(parse_cell(cell).workload))
        # What only such a cell has comes first.
        suited = [one for moment in (own, *_OF_ANY) for one in waiting if one[1] is moment] if free else []
        free = not suited
        if suited:
            waiting.remove(suited[0])
            found[cell] = suited[0]
    if waiting:
        raise UsageError(
            f"{len(waiting)} troubles, such as {waiting[0][0]} in {waiting[0][1]}, have no cell: more --most"
        )
    return found


_OF_ANY = (Moment.LOAD, Moment.AFTER)
_MOMENT_OF = {"prefill": Moment.FORWARD, "generate": Moment.GENERATE}
_ORDERS: TypeAdapter[Orders] = TypeAdapter(Orders)
