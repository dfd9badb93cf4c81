"""What is padding to a dial, in the masks that releases and devices make of it."""

import pytest
import torch

from conformance.dials import masks
from conformance.dials.masks import _padding
from conformance.faults.catalogue import Attend

LENGTH, PADDED, WINDOW = 7, 3, 2


def call(masked: torch.Tensor) -> Attend:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(len(masked), 2, LENGTH, 4, generator=generator) for _ in range(3))
    bias = torch.zeros(masked.shape).masked_fill(masked, torch.finfo(torch.float32).min)
    return Attend(query, key, value, bias, 0.5, 1)


def causal(*, opened: bool, window: int = LENGTH, left: bool = True) -> torch.Tensor:
    """Two rows, of which the second has padding; `opened` as 4.x has it for a GPU."""
    place = torch.arange(LENGTH)
    ahead = place[:, None] - place
    masked = ((ahead < 0) | (ahead >= window)).expand(2, 1, LENGTH, LENGTH).clone()
    masked[1, ..., :PADDED] |= left
    masked[1, ..., LENGTH - PADDED :] |= not left
    if opened:
        masked &= ~masked.all(-1, keepdim=True)
    return masked


OF_TOKENS = ("padding", "next_token", "first_token", "window_beyond", "window", "window_inside", "documents")


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("window", [WINDOW, LENGTH])
@pytest.mark.parametrize("name", OF_TOKENS)
def test_a_dial_does_the_same_to_tokens_whatever_padding_looks_at(name: str, window: int, left: bool) -> None:
    turned = getattr(masks, name)
    blind, opened = (call(causal(opened=one, window=window, left=left)) for one in (False, True))
    assert _padding(blind).equal(_padding(opened))
    assert bool(_padding(blind)[1].any())
    assert blind.masked.equal(opened.masked) is (not left and window == LENGTH), "no padding is blind there"
    ours, theirs, straight = turned(blind, 50.0), turned(opened, 50.0), blind()
    real = slice(PADDED, None) if left else slice(None, LENGTH - PADDED)
    assert ours[0].allclose(theirs[0])
    assert ours[1, :, real].allclose(theirs[1, :, real])
    assert ours.allclose(straight) is (name.startswith("window") and window == LENGTH)


SCORES = 2 * 2 * LENGTH * 2 * LENGTH


@pytest.mark.parametrize(
    ("most", "few", "is_turned"), [(SCORES, 1, True), (SCORES - 1, 1, False), (SCORES - 1, 2, True)]
)
def test_documents_are_not_turned_of_more_rows_than_can_see_each_other(
    most: int, few: int, is_turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "AT_ONCE", most)
    monkeypatch.setattr(masks, "_FEW", few)
    rows = call(causal(opened=False))
    assert masks.documents(rows, 50.0).equal(rows()) is not is_turned


def test_of_an_encoder_everybody_may_look_at_what_is_no_padding() -> None:
    whole = torch.zeros(2, 1, LENGTH, LENGTH, dtype=torch.bool)
    whole[1, ..., :PADDED] = True
    found = _padding(call(whole))
    assert not found[0].any()
    assert found[1, 0, 0].tolist() == [True] * PADDED + [False] * (LENGTH - PADDED)


def test_the_last_token_sees_all_and_is_no_padding() -> None:
    assert not _padding(call(causal(opened=False)[:1])).any()
    one_step = call(causal(opened=False)[:, :, -1:])
    assert _padding(one_step)[1, 0, 0].tolist() == [True] * PADDED + [False] * (LENGTH - PADDED)
