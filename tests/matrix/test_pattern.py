"""Which rows and tokens are wrong, in words."""

import math

import pytest

from matrix.pattern import NOT_FINITE, SCATTERED, map_row, words


@pytest.mark.parametrize(
    ("ratio", "character"),
    [(None, " "), (0.0, "."), (1.0, "."), (1.01, "1"), (3.2, "2"), (10.1, "3"), (1e9, "9"), (math.inf, "#")],
)
def test_each_position_is_one_character(ratio: float | None, character: str) -> None:
    assert map_row([ratio]) == character


def test_what_is_no_number_is_not_finite() -> None:
    assert map_row([math.nan]) == NOT_FINITE


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["1111", " 111", "  11"], "every row and token"),
        (["....", " ...", "  .."], "everywhere a little"),
        (["....", " 111", "  11"], "padded rows only"),
        (["1111", " ...", "  .."], "unpadded rows only"),
        (["....", "1111", "...."], "row 1 only"),
        (["1111", "1111", "...."], "rows 0, 1 only"),
        (["..11", " .11", "  .1"], SCATTERED),
        (["..11", "..11", "...."], "rows 0, 1 only, from token 2 on"),
        (["1...", " 1..", "  1."], "first token only"),
        (["...1", " ..1", "  .1"], "last token only"),
        (["11..", "11.."], "up to token 1"),
        (["...1...1", "...1...1"], "one token of each block of 4"),
        (["1..1.1..", "..1....."], SCATTERED),
        (["....", " 1.1", "  .1"], f"padded rows only, {SCATTERED}"),
        (["#...", "...."], "row 0 only, first token only"),
    ],
)
def test_patterns(rows: list[str], expected: str) -> None:
    assert words(rows) == expected


def test_rows_that_are_padded_may_be_said() -> None:
    assert words([".", "1", "1"]) == "rows 1, 2 only"
    assert words([".", "1", "1"], padded={1, 2}) == "padded rows only"
