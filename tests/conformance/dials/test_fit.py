"""The joint fit on directions that are made up: what is read, how sure it is, and what cannot be told apart."""

from collections.abc import Iterable, Iterator, Sequence

import pytest
import torch

from conformance.dials import DIALS
from conformance.dials.directions import BLOCK, Direction, Directions, blocks, rows
from conformance.dials.fit import System, _all_others, readings
from conformance.dials.golden import Remembered, Turn
from conformance.dials.reading import _why_they_disagree
from matrix.dials import Reading, cause
from reports.dials import SURE

NAMES = ("scale", "values", "head_gain")
ATTENDED = torch.ones(4, 8 * BLOCK, dtype=torch.bool)
SHAPE = (*ATTENDED.shape, 16)


def random(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def overlapping() -> list[torch.Tensor]:
    """Slopes of which the second has much of the first: alone each would be read wrong."""
    first, second, third = (random(seed) for seed in range(3))
    return [first, 0.6 * first + second, third]


def made(slopes: Sequence[torch.Tensor], bends: Sequence[torch.Tensor] | None = None) -> Directions:
    bends = bends or [torch.zeros_like(slope) for slope in slopes]
    seen = [(slope.flatten(0, 1), bend.flatten(0, 1)) for slope, bend in zip(slopes, bends, strict=True)]
    found = [
        Direction(DIALS[name], 1.0, slope, bend, float(bend.norm() / slope.norm()))
        for name, (slope, bend) in zip(NAMES, seen, strict=False)
    ]

    def turned(turns: Iterable[Turn]) -> Iterator[torch.Tensor]:
        for dial, by, _ in turns:
            one = found[[one.dial for one in found].index(dial)]
            yield by * one.slope + by**2 * one.bend

    return Directions(tuple(found), ATTENDED, (blocks(ATTENDED), rows(ATTENDED)), 1, Remembered(turned), 1)


def read(directions: Directions, error: torch.Tensor, usual: torch.Tensor | None = None) -> tuple[Reading, ...]:
    usual = 100 * random(9) if usual is None else usual  # so that nothing is far off
    return readings(directions, usual + error, usual, torch.zeros(SHAPE))


@pytest.mark.parametrize(
    ("common", "alone", "laid"),
    [
        (0.0, "values", "values"),  # only one of them does it
        (5.0, "values", "values"),  # what both do wrong is not why
        (5.0, "", None),  # nor where nothing says why
    ],
)
def test_why_two_runs_disagree_is_what_one_alone_does(common: float, alone: str, laid: str | None) -> None:
    slopes = [random(seed) for seed in range(3)]
    golden, unexplained = torch.zeros(SHAPE, dtype=torch.float64), random(11)
    one = golden + common * slopes[0]
    other = one + (2 * slopes[1] if alone else unexplained)
    found = cause(_why_they_disagree(made(slopes), (one, other), 0.01 * random(9), golden))
    assert (found.dial if found else None) == laid


def test_what_two_runs_do_to_other_tokens_is_why_they_disagree() -> None:
    """Each sees what it must not, which is another token in each, so that their difference is along no direction."""
    slopes = [random(seed) for seed in range(3)]
    golden, of_others, rest = torch.zeros(SHAPE, dtype=torch.float64), random(11), random(12)
    runs = (golden + 3 * slopes[0] + 0.9 * rest, golden + 3 * of_others)
    found = cause(_why_they_disagree(made(slopes), runs, 0.01 * random(9), golden))
    assert found is not None
    assert (found.dial, round(found.value)) == ("scale", 3)


def test_dials_that_overlap_are_read_together() -> None:
    slopes = overlapping()
    found = read(made(slopes), 0.5 * slopes[0] - 0.25 * slopes[1])
    assert [one.value for one in found] == pytest.approx([0.5, -0.25, 0.0], abs=1e-9)


def test_a_dial_that_is_left_out_of_the_fit_is_read_into_another() -> None:
    slopes = overlapping()
    (alone,) = read(made(slopes[:1]), 0.25 * slopes[1])
    assert alone.value == pytest.approx(0.15, abs=0.02)


def test_a_direction_that_bends_is_followed() -> None:
    slopes, bend = overlapping(), 0.02 * random(5)
    found = read(made(slopes, [bend, torch.zeros(SHAPE), torch.zeros(SHAPE)]), 2 * slopes[0] + 4 * bend)
    assert found[0].value == pytest.approx(2, abs=1e-4)


def test_what_is_off_by_much_is_read_where_it_is() -> None:
    """A turn of 8 steps, at which the direction at small turns is another: golden is asked there."""
    slopes, bend = overlapping(), 0.1 * random(5)
    directions = made(slopes, [bend, torch.zeros(SHAPE), torch.zeros(SHAPE)])
    found = read(directions, 8 * slopes[0] + 64 * bend, 0.01 * random(9))
    assert found[0].value == pytest.approx(8, abs=0.01)
    assert found[0].explains == pytest.approx(1, abs=0.01)
    assert [abs(one.value) < 0.01 for one in found[1:]] == [True, True]


@pytest.mark.parametrize("shared", [0.0, 0.15])
def test_the_bars_of_rounding_hold_the_truth_95_times_in_100(shared: float) -> None:
    """Rounding of one size for each position, and some that a row shares: more often than without it."""
    slopes = overlapping()
    directions = made(slopes)
    inside = total = 0
    for seed in range(100, 180):
        noise = random(seed) * random(seed + 1000)[..., :1]
        noise += shared * sum(random(seed + 2000)[:, :1, :1] * slope for slope in slopes)
        for one in read(directions, 0.3 * noise):
            inside += abs(one.value) <= SURE * one.bar
            total += 1
    assert 0.90 <= inside / total <= 0.995


def test_dials_that_do_the_same_are_one_reading_that_names_both() -> None:
    slopes = overlapping()
    found = read(made([slopes[0], slopes[2], -3 * slopes[0] + 0.01 * slopes[1]]), slopes[0])
    assert [(one.dial, one.also) for one in found] == [("scale", ("head_gain",)), ("values", ())]
    assert found[0].value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_what_moves_one_row_alone_is_read_and_never_sure(seed: int) -> None:
    common, alone = random(seed), torch.zeros(SHAPE, dtype=torch.float64)
    alone[1] = random(20 + seed)[1]
    of_all, of_one_row = read(made([common, alone]), common + 3 * alone)
    assert of_all.value == pytest.approx(1)
    assert of_one_row.value == pytest.approx(3)
    assert of_one_row.bar > 2  # without that row nothing says so


def test_where_a_group_has_all_there_is_nothing_is_left_of_the_others() -> None:
    sums = torch.tensor([[0.1, 0.0], [0.2, 0.3], [0.7, 0.0]], dtype=torch.float64)
    assert _all_others(sums)[:, 0].tolist() == pytest.approx([0.9, 0.8, 0.3])
    assert _all_others(sums)[1, 1] == 0


def test_what_moves_nothing_is_read_as_0_whichever_way_that_was_rounded() -> None:
    system = System([], (), torch.zeros(1, 1))
    gram = torch.diag(torch.tensor([2.0, 0.0, -1e-17, 0.0, 0.0, 0.0], dtype=torch.float64))
    right = torch.tensor([4.0, 1e-9, 1e-9, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert system._solve(gram, right).tolist() == pytest.approx([2.0, 0.0, 0.0])


def test_of_what_is_not_finite_nothing_is_read() -> None:
    assert read(made(overlapping()), torch.full(SHAPE, float("nan"))) == ()


def test_blocks_are_of_one_row_each_wherever_its_padding_is() -> None:
    attended = torch.zeros(2, 2 * BLOCK + 1, dtype=torch.bool)
    attended[0, 1:] = attended[1, :BLOCK] = True
    assert blocks(attended).tolist() == [0] * BLOCK + [1] * BLOCK + [2] * BLOCK
