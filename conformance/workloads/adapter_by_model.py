"""A LoRA loaded by the model itself. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with


def run(model, batch, course):
    """Its logits at every attended position."""
    lora = Lora(model, seed=1)
    with tempfile.TemporaryDirectory() as folder, course.during("load"):
        model.load_adapter(lora.write(f"{folder}/first", course.source.checkpoint))
    return judged_with(model.eval(), batch, course, (lora, 1.0))
