"""Calls are laid out by the tokens that they were of."""

import torch

from conformance.explaining.calls import Pass, _place

TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10], [0, 0, 11, 12, 13, 14]])
MASK = TOKENS > 0


def placed(*given: list[list[int]]) -> list[Pass]:
    passes = [Pass(torch.tensor(tokens), False, False) for tokens in given]
    _place(passes, TOKENS, MASK)
    return passes


def columns(one: Pass) -> list[list[int]] | None:
    return None if one.positions is None else one.positions.tolist()


def test_a_whole_batch_and_then_parts_of_it_with_a_cache() -> None:
    whole = TOKENS.tolist()
    first, chunk, step = placed(whole, [row[:4] for row in whole], [row[4:5] for row in whole])
    assert [one.run for one in (first, chunk, step)] == [0, 1, 1]
    assert [one.number for one in (first, chunk, step)] == [0, 0, 1]
    assert columns(step) == [[4], [4]]


def test_a_row_alone_lies_where_its_tokens_are_in_the_batch() -> None:
    (alone,) = placed([[11, 12, 13, 14]])
    assert (alone.rows, columns(alone)) == ([1], [[2, 3, 4, 5]])


def test_rows_in_another_order_are_told_by_their_tokens() -> None:
    (rolled,) = placed(TOKENS.flip(0).tolist())
    assert rolled.rows == [1, 0]


def test_from_a_token_on_that_differs_nothing_is_compared() -> None:
    (changed,) = placed([[5, 6, 7, 99, 9, 10]])
    assert columns(changed) == [[0, 1, 2, -1, -1, -1]]


def test_a_step_that_does_not_go_on_is_nowhere() -> None:
    """Such as of a beam that has changed places."""
    _, step = placed(TOKENS.tolist(), [[5], [11]])
    assert step.positions is None
