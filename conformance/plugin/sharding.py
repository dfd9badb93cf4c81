"""Which of the collected tests this run is to do, and what the others are."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from conformance.plugin.collection import CellItem, cell_id_of
from conformance.plugin.rows import row_key
from matrix.shard import Shard, divide
from reports.document import Sharded


def chosen(items: Sequence[pytest.Item], names: frozenset[str]) -> list[pytest.Item]:
    """The tests of these cells and rows."""
    return [item for item in items if (cell_id_of(item.nodeid) or row_key(item.nodeid)) in names]


def in_shard(items: Sequence[pytest.Item], shard: Shard) -> list[pytest.Item]:
    """The tests of a shard; of none where there are too few for every shard to have one."""
    if len(items) < shard.of:
        return []
    cells = [item for item in items if isinstance(item, CellItem)]
    others = [item for item in items if not isinstance(item, CellItem)]
    keys = [row_key(item.nodeid) or item.nodeid for item in others]
    of_cells, of_others = divide([item.cell for item in cells], keys, shard.of)
    numbers = dict(zip((*cells, *others), (*of_cells, *of_others), strict=True))
    return [item for item in items if numbers[item] == shard.number]


def whole_plan(nodeids: Iterable[str], shard: Shard) -> Sharded:
    """What a report of a shard says of the plan that it is a part of."""
    nodeids = list(nodeids)
    return Sharded(
        number=shard.number,
        of=shard.of,
        planned=[cell for nodeid in nodeids if (cell := cell_id_of(nodeid)) is not None],
        planned_rows=[row for nodeid in nodeids if (row := row_key(nodeid)) is not None],
    )


def leave_whole(folder: Path, worker: str, whole: Sharded) -> None:
    """Let the controller of a worker, which collects nothing itself, know the whole plan."""
    with contextlib.suppress(OSError):  # on a full disk; only one worker need have told it
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{worker}.plan").write_text(whole.model_dump_json(), encoding="utf-8")


def read_whole(folder: Path, worker: str) -> Sharded:
    """What the worker has left."""
    return Sharded.model_validate(json.loads((folder / f"{worker}.plan").read_text(encoding="utf-8")))
