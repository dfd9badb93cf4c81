"""A LoRA switched off. Scripts carry it along."""

from conformance.adapters import Lora, judged_with, put_on


def run(model, batch, course):
    """Its logits at every attended position."""
    lora = Lora(model, seed=1)
    adapted = put_on(model, lora, course)
    with adapted.disable_adapter():
        return judged_with(adapted, batch, course)
