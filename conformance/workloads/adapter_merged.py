"""A LoRA merged into the weights. Scripts carry it along."""

from conformance.adapters import Lora, judged_with


def run(model, batch, course):
    """Its logits at every attended position."""
    from peft import get_peft_model

    lora = Lora(model, seed=1)
    with course.during("transform"):
        adapted = get_peft_model(model, lora.config()).eval()
        lora.fill(model)
        merged = adapted.merge_and_unload()
    return judged_with(merged, batch, course, (lora, 1.0), merged=True)
