"""A LoRA merged into the weights. Scripts carry it along."""

from conformance.adapters import Lora, judged_with, put_on


def run(model, batch, course):
    """Its logits at every attended position."""
    lora = Lora(model, seed=1)
    adapted = put_on(model, lora, course)
    with course.during("transform"):
        merged = adapted.merge_and_unload()
    return judged_with(merged, batch, course, (lora, 1.0), merged=True)
