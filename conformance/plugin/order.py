"""In which order the workers of a run take its tests: what takes long begins first, and nobody waits for it."""

from collections.abc import Iterator, Sequence
from itertools import islice

import pytest

from conformance.plugin.collection import CellItem
from matrix.axes import Attention
from matrix.costs import load_costs


def arranged(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in as many blocks as there are workers, to each of which xdist hands one at first.

    Each block has its part of what compiles, dealt one by one from the one that costs most, since some architectures
    compile for ten times as long as others; then of the rows, in their order; then of the other cells, which stay
    beside those of their architecture, with which they share references.
    """
    rows = [item for item in items if not isinstance(item, CellItem)]
    costs = load_costs()
    compiled = [item for item in items if isinstance(item, CellItem) and _compiles(item)]
    compiled.sort(key=lambda item: -costs.of_cell(item.cell))
    others = iter([item for item in items if isinstance(item, CellItem) and not _compiles(item)])
    found: list[pytest.Item] = []
    for worker, (block, some) in enumerate(zip(_parts(len(items), workers), _split(rows, workers), strict=True)):
        first = [*compiled[worker::workers], *some]
        found += [*first, *islice(others, max(0, block - len(first)))]
    return [*found, *others]


def _compiles(item: pytest.Item) -> bool:
    return isinstance(item, CellItem) and item.cell.attention is Attention.FLEX_ATTENTION


def _parts(count: int, workers: int) -> Iterator[int]:
    """How many each gets, as xdist's worksteal deals them."""
    for worker in range(workers):
        part = count // (workers - worker)
        count -= part
        yield part


def _split(rows: Sequence[pytest.Item], workers: int) -> Iterator[Sequence[pytest.Item]]:
    begin = 0
    for part in _parts(len(rows), workers):
        yield rows[begin : begin + part]
        begin += part
