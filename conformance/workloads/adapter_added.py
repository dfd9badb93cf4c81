"""A LoRA put on the model. Scripts carry it along."""

from conformance.adapters import Lora, judged_with, put_on


def run(model, batch, course):
    """Its logits at every attended position."""
    lora = Lora(model, seed=1)
    adapted = put_on(model, lora, course)
    return judged_with(adapted, batch, course, (lora, 1.0))
