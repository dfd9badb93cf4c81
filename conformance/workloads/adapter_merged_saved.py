"""A LoRA merged into the weights, which are saved and loaded. Scripts carry it along."""

from conformance.adapters import Lora, judged_with, put_on
from conformance.models.saved import saved_and_loaded


def run(model, batch, course):
    """The logits of what is loaded, at every attended position.

    Raises:
        SavedWrongly: the files do not say how they are to be read, or lack a parameter.
    """
    lora = Lora(model, seed=1)
    adapted = put_on(model, lora, course)
    with course.during("transform"):
        merged = adapted.merge_and_unload()
    twin, _ = saved_and_loaded(merged, course)
    with course.instead(twin):
        return judged_with(twin, batch, course, (lora, 1.0), merged=True)
