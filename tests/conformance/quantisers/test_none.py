"""Weights as they are."""

import torch

from conformance.quantisers.none import load_arguments, spell_out, stored_as


def test_nothing_is_asked_for_and_nothing_is_found() -> None:
    assert load_arguments("none", torch.float16) == {}
    assert stored_as(torch.nn.Linear(2, 2)) is None


def test_a_reference_is_left_as_it_is() -> None:
    model = torch.nn.Linear(2, 2)
    before = model.weight.clone()
    spell_out(model, lambda: 1 / 0, torch.device("cpu"), True)
    assert torch.equal(model.weight, before)
