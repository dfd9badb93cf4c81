"""Two LoRAs added up. Scripts carry it along."""

import tempfile

from conformance.adapters import Lora, judged_with

WEIGHTS = (0.7, 0.4)


def run(model, batch, course):
    """Its logits at every attended position."""
    from peft import PeftModel

    loras = [Lora(model, seed) for seed in (1, 2)]
    with tempfile.TemporaryDirectory() as folder, course.during("load"):
        first, second = (lora.write(f"{folder}/{turn}", course.source.checkpoint) for turn, lora in enumerate(loras))
        adapted = PeftModel.from_pretrained(model, first, adapter_name="first").eval()
        adapted.load_adapter(second, adapter_name="second")
    with course.during("transform"):
        # The one combination that is the weighted sum of what they say; `linear` multiplies each A by every B.
        adapted.add_weighted_adapter(["first", "second"], [*WEIGHTS], "both", combination_type="cat")
        adapted.set_adapter("both")
    return judged_with(adapted.eval(), batch, course, *zip(loras, WEIGHTS, strict=True))
