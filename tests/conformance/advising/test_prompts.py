"""Batches that are judged in the shapes of those that are timed."""

import pytest
import torch

from conformance.advising.prompts import shaped

TOKENS = torch.arange(4, 10).reshape(2, 3)
MASK = torch.tensor([[1, 1, 1], [0, 1, 1]])


@pytest.mark.parametrize(("padding", "first"), [("left", [9, 9, 4, 5, 6]), ("right", [4, 5, 6, 9, 9])])
def test_rows_come_again_and_columns_of_padding_are_added(padding: str, first: list[int]) -> None:
    found = shaped({"input_ids": TOKENS, "attention_mask": MASK}, 3, 5, padding, 9)
    assert found["input_ids"].shape == found["attention_mask"].shape == (3, 5)
    assert found["input_ids"][0].tolist() == found["input_ids"][2].tolist() == first
    assert found["attention_mask"].sum(1).tolist() == [3, 2, 3]


def test_of_fewer_rows_the_first_stay() -> None:
    found = shaped({"input_ids": TOKENS, "attention_mask": MASK}, 1, 3, "left", 9)
    assert found["input_ids"].equal(TOKENS[:1])


@pytest.mark.parametrize(
    ("batch", "length", "padding"),
    [
        ({"input_ids": TOKENS, "attention_mask": MASK}, 2, "left"),  # it is longer
        ({"input_ids": TOKENS, "attention_mask": MASK}, 5, "none"),  # nothing may be padded
        ({"input_ids": TOKENS, "attention_mask": MASK, "pixel_values": torch.ones(2, 7, 4)}, 5, "left"),
        ({"input_features": torch.ones(2, 8, 30)}, 5, "right"),
    ],
)
def test_columns_stay_where_they_cannot_be_added(batch: dict[str, torch.Tensor], length: int, padding: str) -> None:
    found = shaped(batch, 4, length, padding, 9)
    for name, value in batch.items():
        assert found[name].equal(torch.cat([value, value]))
