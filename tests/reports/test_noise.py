"""What repeated runs of one side differ by is noise, and what lies beyond it is found."""

import random
from collections.abc import Sequence

import pytest

from matrix.cell import parse_cell
from matrix.observation import Ending
from reports.diff import compare
from reports.differences import Aspect, Difference, Kind
from reports.document import Report, make_report
from reports.noise import Measure, paces
from tests.builders import completed, ended, make_run, record_of

CELLS = [
    f"{name}-float16-{backend}-prefill"
    for name in ("llama", "opt", "bert", "gpt2", "t5", "falcon")
    for backend in ("eager", "sdpa")
]


def measured(
    seed: int, *, slower: float = 1.0, larger: float = 1.0, jitter: float = 0.05, backend: str = "sdpa"
) -> Report:
    """A run whose cells take what they take give or take some, those of one backend so many times that."""
    draw = random.Random(seed)
    records = []
    for place, name in enumerate(CELLS):
        cell = parse_cell(name)
        mine = cell.attention.value == backend
        seconds = 0.01 * (1 + place) * draw.uniform(1 - jitter, 1 + jitter) * (slower if mine else 1)
        memory = 100.0 * (1 + place) * (larger if mine else 1)
        seen = completed(cell, seconds={"load": 5.0, "forward": seconds}, peak_memory_mib=memory)
        records.append(record_of(name, observation=seen))
    return make_report(make_run(*CELLS), records, end=ended())


def found(before: Sequence[Report], after: Sequence[Report]) -> list[tuple[Kind, Aspect, str]]:
    differences: tuple[Difference, ...] = compare(before, after).differences
    return [(one.kind, one.aspect, one.causes[0]) for one in differences]


def test_attention_that_is_30_percent_slower_is_found_where_runs_were_repeated() -> None:
    before, after = [measured(n) for n in (1, 2, 3)], [measured(n, slower=1.3) for n in (4, 5, 6)]
    assert found(before, after) == [(Kind.REGRESSION, Aspect.TIME, "sdpa: time")]
    assert found(after, before) == [(Kind.IMPROVEMENT, Aspect.TIME, "sdpa: time")]
    (one,) = compare(before, after).differences
    assert "of the same 6 cells: 1." in one.found[0]
    assert one.name in CELLS


def test_memory_that_is_30_percent_higher_is_found_where_runs_were_repeated() -> None:
    before, after = [measured(n) for n in (1, 2)], [measured(n, larger=1.3) for n in (3, 4)]
    assert found(before, after) == [(Kind.REGRESSION, Aspect.MEMORY, "sdpa: memory")]


def test_one_run_a_side_says_nothing_of_time_and_memory() -> None:
    assert found([measured(1)], [measured(2, slower=5, larger=5)]) == []
    assert found([measured(1), measured(2)], [measured(3, slower=5)]) == []


@pytest.mark.parametrize("seed", range(10))
def test_honest_noise_is_no_difference(seed: int) -> None:
    runs = [measured(10 * seed + n, jitter=0.2) for n in range(6)]
    assert found(runs[:3], runs[3:]) == []


def test_the_first_of_three_runs_which_shared_its_machine_is_left_aside() -> None:
    """It took three times as long on one side alone: by that nothing is slower, and nothing else is excused."""
    busy, quiet = measured(1, slower=3), [measured(n) for n in (2, 3)]
    assert found([measured(0), *quiet], [busy, *quiet]) == []
    assert found([busy, *quiet], [busy, *(measured(n, slower=1.3) for n in (4, 5))]) == [
        (Kind.REGRESSION, Aspect.TIME, "sdpa: time")
    ]


def test_a_side_that_differs_by_as_much_itself_cannot_tell() -> None:
    before, after = [measured(1), measured(2, slower=1.4)], [measured(3, slower=1.3), measured(4, slower=1.3)]
    assert found(before, after) == []
    noise = {pace.backend: pace.noise for pace in paces(before, after) if pace.measure is Measure.TIME}
    assert (noise["sdpa"] or 0) > 1.3


def test_a_time_that_is_no_number_says_nothing() -> None:
    strange = [measured(n, slower=float("inf")) for n in (3, 4)]
    assert found([measured(1), measured(2)], strange) == []
    assert "sdpa" not in {pace.backend for pace in paces(strange, strange) if pace.measure is Measure.TIME}


def test_a_ratio_that_is_no_number_is_no_pace() -> None:
    endless, short = ([measured(n, slower=scale, larger=scale) for n in (1, 2)] for scale in (1e305, 1e-305))
    assert {pace.backend for pace in paces(short, endless)} == {"eager"}


def test_what_did_not_come_to_its_end_took_no_time() -> None:
    seen = completed(parse_cell(CELLS[0]), ending=Ending.RAISED, seconds={"forward": 9.0})
    run = make_report(make_run(*CELLS), [record_of(name, observation=seen) for name in CELLS], end=ended())
    assert list(paces([run, run], [run, run])) == []
