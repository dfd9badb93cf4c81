"""A LoRA and its base loaded at once. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with


def run(model, batch, course):
    """Its logits at every attended position."""
    lora = Lora(model, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        twin = course.load(checkpoint=lora.write(f"{folder}/first", course.source.checkpoint))
    with course.watch.anew(twin):
        return judged_with(twin, batch, course, (lora, 1.0))
