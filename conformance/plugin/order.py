"""In which order the workers of a run take its tests: what takes long begins first, and nobody waits for it."""

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice

import pytest

from conformance.plugin.collection import CellItem
from conformance.plugin.rows import row_key
from matrix.axes import Attention
from matrix.cell import Cell
from matrix.costs import load_costs

_LONG = 2.5  # mean cells: a row that takes longer, begun last, has every other worker wait for it


def arranged(items: Sequence[pytest.Item], workers: int, should_work: Callable[[Cell], bool]) -> list[pytest.Item]:
    """The tests in as many blocks as there are workers, to each of which xdist hands one at first.

    Each block has its part of what takes long, which is what compiles, but for what should not work: that compiles
    nothing; and some rows. Then come the other rows, in their order, and the other cells, which stay beside those of
    their architecture, with which they share references.
    """
    costs = load_costs()
    long: list[tuple[float, pytest.Item]] = []
    rows: list[pytest.Item] = []
    plain: list[pytest.Item] = []
    for item in items:
        if isinstance(item, CellItem):
            by_itself = item.cell.attention is Attention.FLEX_ATTENTION
            if (by_itself or item.cell.transformation.compiles) and should_work(item.cell):
                long.append((costs.of_cell(item.cell), item))
            else:
                plain.append(item)
        elif (key := row_key(item.nodeid)) and (cost := costs.of_row(key)) > _LONG:
            long.append((cost, item))
        else:
            rows.append(item)
    others = iter(plain)
    blocks = list(_parts(len(items), workers))
    found: list[pytest.Item] = []
    for block, dealt, some in zip(blocks, _dealt(long, blocks), _split(rows, workers), strict=True):
        first = [*dealt, *some]
        found += [*first, *islice(others, max(0, block - len(first)))]
    return [*found, *others]


def _dealt(long: Sequence[tuple[float, pytest.Item]], blocks: Sequence[int]) -> Sequence[Sequence[pytest.Item]]:
    """Each to the worker that has least to do as yet, from the one that costs most on, as long as its block has room.

    One of them may take as long as ten others, and what stands behind it in a block is stolen last: it waits.
    """
    found: list[list[pytest.Item]] = [[] for _ in blocks]
    least = [(0.0, worker) for worker, block in enumerate(blocks) if block]
    heapify(least)
    for cost, item in sorted(long, key=lambda one: -one[0]):
        load, worker = heappop(least)
        found[worker].append(item)
        if len(found[worker]) < blocks[worker]:
            heappush(least, (load + cost, worker))
    return found


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
