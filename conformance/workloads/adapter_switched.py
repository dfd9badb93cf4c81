"""Two LoRAs, the second switched on. Scripts carry it along."""

from conformance.adapters import judged_with, two_loaded


def run(model, batch, course):
    """Its logits at every attended position."""
    loras, adapted = two_loaded(model, course)
    with course.during("transform"):
        adapted.set_adapter("second")
    return judged_with(adapted, batch, course, (loras[1], 1.0))
