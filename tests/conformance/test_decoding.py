"""Decoding by hand: what a step is given, what may be chosen, what a decoder listens to."""

from types import SimpleNamespace
from typing import Any

import torch

from conformance.decoding import cached, heard_by, placeholders
from conformance.models.batches import PLAIN

PICTURES = torch.ones(2, 3)
BATCH = {
    "input_ids": torch.arange(8).reshape(2, 4),
    "marks": torch.arange(8).reshape(2, 4),
    "pixel_values": PICTURES,
}


class Noted:
    """A model that notes what each call is given."""

    config = SimpleNamespace(model_type="noted")

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def forward(self, input_ids: Any, past_key_values: Any = None, **given: Any) -> Any:
        """A forward pass with a cache."""
        self.given.append({"input_ids": input_ids, **given})
        return SimpleNamespace(logits=input_ids[..., None].float(), past_key_values=past_key_values)

    __call__ = forward


def test_a_step_is_given_what_its_model_was_found_to_need() -> None:
    for again, whole, pictures, columns in (
        (False, [], [True, False], [(0, 3), (3, 4)]),
        (True, [], [True, True], [(0, 3), (3, 4)]),
        (False, ["marks"], [True, False], [(0, 3), (0, 4)]),
    ):
        model = Noted()
        cached(model, BATCH, [3, 1], {"again": again, "whole": whole})
        assert ["pixel_values" in call for call in model.given] == pictures
        for call, (begin, end) in zip(model.given, columns, strict=True):
            assert torch.equal(call["marks"], BATCH["marks"][:, begin:end])


def test_only_where_pictures_go_in_placeholders_may_not_be_chosen() -> None:
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=8)))
    for noise, kept in (({"pixel_values": [1, 3]}, [6, 7]), ({}, [])):
        inputs = {**PLAIN, "highest": 6, "noise": noise}
        course = SimpleNamespace(takes=lambda model, inputs=inputs: inputs)
        assert placeholders(model, course) == kept


def test_what_only_the_whole_model_puts_together_is_not_asked_of_its_encoder() -> None:
    """An encoder that swallows pictures in its **kwargs would listen to the text alone."""

    def of_text(input_ids: Any, **swallowed: Any) -> str:
        return "text"

    class Whole:
        """Puts pictures and text together."""

        def get_encoder(self) -> Any:
            """A module, or what stands for one."""
            return Encoder()

        def __call__(self, **given: Any) -> Any:
            assert given["decoder_input_ids"].shape == (2, 1)
            return SimpleNamespace(encoder_last_hidden_state="both")

    class Encoder:
        """That of the text."""

        forward = staticmethod(of_text)
        __call__ = staticmethod(of_text)

    text = {"input_ids": BATCH["input_ids"], "decoder_input_ids": torch.zeros(2, 5, dtype=torch.int64)}
    assert heard_by(Whole(), text) == "text"
    assert heard_by(Whole(), {**text, "pixel_values": PICTURES}).last_hidden_state == "both"
