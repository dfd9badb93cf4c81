"""A plan is divided into parts: disjoint, together whole, none empty, the same ones each time, of about one cost."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Cell, parse_cell
from matrix.costs import load_costs
from matrix.errors import UsageError
from matrix.plan import make_plan
from matrix.regressions import load_regressions
from matrix.shard import Shard, divide, parse_shard, too_many
from reports.reading import read_report
from tests.builders import ARCHITECTURES, PROPERTY, ROOT, cells

ROWS = [f"regression:{name}" for name in load_regressions()]
PAIRWISE = make_plan("pairwise", ARCHITECTURES)
PUBLISHED = ROOT / "reports" / "published"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4/3", "--shard 4/3: I must be from 1 to N"),
        ("0/3", "--shard 0/3: I must be from 1 to N"),
        ("1/0", "--shard 1/0: I must be from 1 to N"),
        *((text, f"--shard {text}: must be I/N, as in 2/3") for text in ("", "3", "a/b", "1/2/3", "-1/3", "1/³")),
    ],
)
def test_a_shard_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_shard(text)
    assert str(refused.value) == said


def test_a_shard_is_read_as_it_is_written() -> None:
    assert parse_shard("2/3") == Shard(2, 3)
    assert str(parse_shard("02/3")) == "2/3"
    assert str(too_many(Shard(2, 3))) == "--shard 2/3: there are fewer than 3 tests; ask for fewer shards"


@PROPERTY
@given(
    planned=st.lists(cells(), max_size=60),
    rows=st.lists(st.sampled_from([*ROWS, "guide:never seen"]), max_size=20),
    shards=st.integers(1, 90),
)
def test_every_test_is_in_one_shard_and_no_shard_is_empty(planned: list[Cell], rows: list[str], shards: int) -> None:
    of_cells, of_rows = divide(planned, rows, shards)
    assert (len(of_cells), len(of_rows)) == (len(planned), len(rows))
    used = {*of_cells, *of_rows}
    assert used <= set(range(1, shards + 1))
    assert len(used) == min(shards, len(planned) + len(rows)) or len(planned) + len(rows) < shards
    assert divide(planned, rows, shards) == (of_cells, of_rows)


@PROPERTY
@given(rows=st.lists(st.sampled_from(ROWS), max_size=20), shards=st.integers(1, 40))
def test_where_the_cells_are_does_not_depend_on_the_rows(rows: list[str], shards: int) -> None:
    planned = PAIRWISE[::100]
    assert divide(planned, rows, shards)[0] == divide(planned, (), shards)[0]


@pytest.mark.parametrize("shards", [2, 3, 8])
def test_shards_cost_alike_and_every_architecture_is_dealt_out(shards: int) -> None:
    costs = load_costs()
    of_cells, of_rows = divide(PAIRWISE, ROWS, shards)
    loads = [0.0] * shards
    for cell, number in zip(PAIRWISE, of_cells, strict=True):
        loads[number - 1] += costs.of_cell(cell)
    for row, number in zip(ROWS, of_rows, strict=True):
        loads[number - 1] += costs.of_row(row)
    assert max(loads) < 1.05 * min(loads)
    for name in {cell.architecture for cell in PAIRWISE}:
        numbers = {n for cell, n in zip(PAIRWISE, of_cells, strict=True) if cell.architecture == name}
        assert len(numbers) == shards


def test_cells_that_share_references_stay_together() -> None:
    of_cells, _ = divide(PAIRWISE, (), 3)

    def references(place: int) -> tuple[str, ...]:
        cell = PAIRWISE[place]
        return cell.architecture, *map(str, (cell.dtype, cell.quantisation, cell.padding, cell.workload))

    places = sorted(range(len(PAIRWISE)), key=references)
    for _, alike in itertools.groupby(places, references):
        assert len({of_cells[place] for place in alike}) == 1


@pytest.mark.parametrize(
    "name",
    [
        "nvidia-h100-torch2.11.0-transformers4.48.3",  # FlexAttention is refused there: nothing like what was measured
        "nvidia-h100-torch2.11.0-transformers5.17.0-relations-float32",
        "nvidia-h100-torch2.11.0-transformers5.17.0-zoo",  # of architectures that the table does not know
    ],
)
def test_three_shards_of_runs_that_the_table_was_not_made_of_would_have_taken_alike(name: str) -> None:
    report = read_report(PUBLISHED / f"{name}.json.gz")
    of_cells, of_rows = divide(
        [parse_cell(record.cell) for record in report.records], [row.key for row in report.rows], 3
    )
    loads = [0.0] * 3
    for record, number in zip(report.records, of_cells, strict=True):
        loads[number - 1] += record.took or sum(record.observation.seconds.values())
    for row, number in zip(report.rows, of_rows, strict=True):
        loads[number - 1] += row.seconds
    assert max(loads) - min(loads) < 0.2 * sum(loads) / 3
