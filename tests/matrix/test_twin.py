"""What a price is held against."""

import pytest

from matrix.cell import parse_cell
from matrix.constraints import why_impossible
from matrix.twin import twin_of
from tests.builders import ARCHITECTURES, plan


@pytest.mark.parametrize(
    ("cell", "axis", "twin"),
    [
        ("llama-bfloat16-sdpa-left-static-generate", "cache", "llama-bfloat16-sdpa-left-generate"),
        ("bert-bfloat16-sdpa-flash-nf4-left-prefill", "quantisation", "bert-bfloat16-sdpa-flash-left-prefill"),
        (
            "llama-bfloat16-sdpa-compiled-left-static-generate",
            "transformation",
            "llama-bfloat16-sdpa-left-static-generate",
        ),
    ],
)
def test_the_twin_is_the_cell_without_one_thing(cell: str, axis: str, twin: str) -> None:
    assert twin_of(parse_cell(cell)) == (axis, parse_cell(twin))


@pytest.mark.parametrize(
    "cell",
    [
        "llama-bfloat16-sdpa-left-generate",  # nothing to leave out
        "llama-bfloat16-sdpa-left-static-beam",  # a search whose steps are not timed
        "llama-bfloat16-sdpa-nf4-reload",
        "llama-bfloat16-sdpa-nf4-tp2-prefill",  # several clocks
    ],
)
def test_others_have_none(cell: str) -> None:
    assert twin_of(parse_cell(cell)) is None


@pytest.mark.parametrize("profile", ["decoding", "quantisers"])
def test_a_twin_is_a_cell_that_can_be_and_has_no_twin_of_its_own_axis(profile: str) -> None:
    twins = {cell: found for cell in plan(profile) if (found := twin_of(cell))}
    assert twins
    for cell, (axis, twin) in twins.items():
        assert why_impossible(twin, ARCHITECTURES[twin.architecture]) is None, cell.id
        assert (twin_of(twin) or ("", twin))[0] != axis
