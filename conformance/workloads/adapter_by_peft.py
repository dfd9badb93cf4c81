"""A LoRA loaded by peft. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with


def run(model, batch, course):
    """Its logits at every attended position."""
    from peft import PeftModel

    lora = Lora(model, seed=1)
    with tempfile.TemporaryDirectory() as folder, course.during("load"):
        written = lora.write(f"{folder}/first", course.source.checkpoint)
        adapted = PeftModel.from_pretrained(model, written).eval()
    return judged_with(adapted, batch, course, (lora, 1.0))
