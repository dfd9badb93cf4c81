import pytest

from matrix.advice.wanted import fitted, parse_batches, parse_memory
from matrix.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"), [("24GiB", 24 * 2**30), ("1.5gib", 3 * 2**29), ("800MB", 800 * 10**6), ("4096", 4096)]
)
def test_memory_is_a_size(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "0GiB", "-1GiB", "1e9", "24 parsecs", "1" * 40])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="24GiB"):
        parse_memory(text)


def test_batches_come_each_once_and_the_fewest_rows_first() -> None:
    assert parse_batches("8, 1,8") == (1, 8)


@pytest.mark.parametrize("text", ["", "0", "1,", "a", "99999", ",".join(map(str, range(1, 10)))])
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        parse_batches(text)


@pytest.mark.parametrize(
    ("prompt", "new", "positions", "expected"),
    [
        (2048, 256, None, (2048, 256)),
        (2048, 256, 2304, (2048, 256)),
        (2048, 256, 2048, (1792, 256)),
        (2048, 256, 512, (256, 256)),
        (2048, 512, 512, (384, 128)),
        (2048, 0, 514, (512, 0)),  # RoBERTa's first two are of no token
        (100, 0, 512, (100, 0)),
    ],
)
def test_what_has_no_positions_is_cut_and_said(
    prompt: int, new: int, positions: int | None, expected: tuple[int, int]
) -> None:
    *found, line = fitted(prompt, new, positions)
    assert tuple(found) == expected
    assert bool(line) == (tuple(found) != (prompt, new))
    assert positions is None or sum(found) <= positions
