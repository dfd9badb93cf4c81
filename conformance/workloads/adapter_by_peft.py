"""A LoRA loaded by peft. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with, loaded_by_peft


def run(model, batch, course):
    """Its logits at every attended position."""
    lora = Lora(model, seed=1)
    with tempfile.TemporaryDirectory() as folder, course.during("load"):
        written = lora.write(f"{folder}/first", course.source.checkpoint)
        adapted = loaded_by_peft(model, written)
    return judged_with(adapted, batch, course, (lora, 1.0))
