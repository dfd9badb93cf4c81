"""Two LoRAs, the second switched on. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with


def run(model, batch, course):
    """Its logits at every attended position."""
    from peft import PeftModel

    loras = [Lora(model, seed) for seed in (1, 2)]
    with tempfile.TemporaryDirectory() as folder, course.during("load"):
        first, second = (lora.write(f"{folder}/{turn}", course.source.checkpoint) for turn, lora in enumerate(loras))
        adapted = PeftModel.from_pretrained(model, first, adapter_name="first").eval()
        adapted.load_adapter(second, adapter_name="second")
    with course.during("transform"):
        adapted.set_adapter("second")
    return judged_with(adapted, batch, course, (loras[1], 1.0))
