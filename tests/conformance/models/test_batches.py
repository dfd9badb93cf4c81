"""What goes into a model."""

import pytest
import torch

from conformance.models.batches import LENGTHS, extended, make_batch


@pytest.mark.parametrize("workload", sorted(LENGTHS))
@pytest.mark.parametrize(("padding", "column"), [("left", 0), ("right", -1)])
def test_padded_batches_are_uneven_in_every_row(workload: str, padding: str, column: int) -> None:
    batch = make_batch(workload, padding, 256, 0)
    assert batch["attention_mask"].sum(1).tolist() == list(LENGTHS[workload])
    assert batch["attention_mask"][1:, column].sum() == 0
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 0).all()
    assert (batch["input_ids"][batch["attention_mask"] == 1] >= 4).all()


def test_teacher_forcing_uses_the_positions_of_generation() -> None:
    batch = make_batch("generate", "left", 256, 0)
    new = torch.full((4, 3), 7)
    forced = extended(batch, torch.cat([batch["input_ids"], new], dim=1), True)
    assert forced["input_ids"].shape == (4, 50)
    assert forced["position_ids"][3, -1] == 7 + 2 - 1
    assert forced["position_ids"][0].tolist() == list(range(50))
