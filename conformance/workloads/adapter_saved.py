"""A LoRA saved and loaded. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with


def run(model, batch, course):
    """Its logits at every attended position."""
    from peft import PeftModel, get_peft_model

    lora = Lora(model, seed=1)
    with course.during("transform"):
        adapted = get_peft_model(model, lora.config()).eval()
        lora.fill(model)
    with tempfile.TemporaryDirectory() as folder:
        with course.during("save"):
            adapted.save_pretrained(folder)
        base = course.load()
        with course.during("load"):
            adapted = PeftModel.from_pretrained(base, folder).eval()
    with course.watch.anew(base):
        return judged_with(adapted, batch, course, (lora, 1.0))
