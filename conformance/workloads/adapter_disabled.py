"""A LoRA switched off. Scripts carry it along."""

from conformance.adapters import Lora, judged_with


def run(model, batch, course):
    """Its logits at every attended position."""
    from peft import get_peft_model

    lora = Lora(model, seed=1)
    with course.during("transform"):
        adapted = get_peft_model(model, lora.config()).eval()
        lora.fill(model)
    with adapted.disable_adapter():
        return judged_with(adapted, batch, course)
