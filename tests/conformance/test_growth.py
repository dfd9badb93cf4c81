"""The cells of which it is measured how time grows: drawn the same way each time, from all over the plan."""

from pathlib import Path

import pytest

from conformance.growth import measure, subset
from matrix.errors import UsageError
from matrix.plan import make_plan
from tests.builders import ARCHITECTURES

PLAN = make_plan("pairwise", ARCHITECTURES)


def test_a_larger_subset_has_the_cells_of_a_smaller_one_in_the_order_of_the_plan() -> None:
    small, large = subset(PLAN, 100), subset(PLAN, 400)
    assert (len(set(small)), len(set(large))) == (100, 400)
    assert set(small) < set(large)
    assert sorted(large, key=PLAN.index) == large
    assert subset(PLAN, 100) == small
    assert subset(PLAN, len(PLAN)) == PLAN


def test_a_subset_comes_from_all_over_the_plan() -> None:
    places = [PLAN.index(cell) for cell in subset(PLAN, 200)]
    tenths = [
        sum(number * len(PLAN) <= 10 * place < (number + 1) * len(PLAN) for place in places) for number in range(10)
    ]
    assert min(tenths) >= 10


def test_a_plan_that_has_not_so_many_cells_is_named() -> None:
    with pytest.raises(UsageError, match=f"9,999,999 cells: the plan has {len(PLAN):,}"):
        subset(PLAN, 9_999_999)


def test_a_run_that_did_not_begin_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pytest ended with 4: .*no such plan"):
        measure(subset(PLAN, 2), "no such plan", tmp_path / "fixtures", tmp_path / "out")
