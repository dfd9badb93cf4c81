"""What a model's inputs say of each token, whichever release makes them."""

from types import SimpleNamespace

import pytest
import torch

from conformance.models.batches import PLAIN
from conformance.zoo.inputs import _in_front


class Takes(torch.nn.Module):
    """Asks for types of tokens, and has a model inside whose config is of the type."""

    def __init__(self, model_type: str, **text: object) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            model_type="whole", image_token_id=240, get_text_config=lambda **_: SimpleNamespace(**text)
        )
        self.inner = torch.nn.Identity()
        self.inner.config = SimpleNamespace(model_type=model_type)

    def forward(self, input_ids: torch.Tensor, token_type_ids: torch.Tensor) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("model", "images_then_text"),
    [
        (Takes("gemma3"), [1, 1, 1, 0]),
        (Takes("gemma3", use_bidirectional_attention=False), [1, 1, 1, 0]),
        (Takes("paligemma", use_bidirectional_attention=True), [0, 0, 0, 1]),
        (Takes("paligemma"), [0, 0, 0, 1]),  # of transformers 4.57, whose config has no such field
    ],
)
def test_images_are_marked_and_for_paligemma_what_follows_the_prompt(
    model: torch.nn.Module, images_then_text: list[int]
) -> None:
    spec = _in_front(model, "image", PLAIN, 3)
    assert spec["prefix"] == [240] * 3
    assert spec["by_token"] == {"token_type_ids": images_then_text}
