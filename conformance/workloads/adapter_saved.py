"""A LoRA saved and loaded. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with, loaded_by_peft, put_on


def run(model, batch, course):
    """Its logits at every attended position."""
    lora = Lora(model, seed=1)
    adapted = put_on(model, lora, course)
    with tempfile.TemporaryDirectory() as folder:
        with course.during("save"):
            adapted.save_pretrained(folder)
        base = course.load()
        with course.during("load"):
            adapted = loaded_by_peft(base, folder)
    with course.watch.anew(base):
        return judged_with(adapted, batch, course, (lora, 1.0))
