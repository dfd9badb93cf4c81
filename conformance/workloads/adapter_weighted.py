"""Two LoRAs added up. Scripts carry it along."""

from conformance.adapters import judged_with, two_loaded

WEIGHTS = (0.7, 0.4)


def run(model, batch, course):
    """Its logits at every attended position."""
    loras, adapted = two_loaded(model, course)
    with course.during("transform"):
        # The one combination that is the weighted sum of what they say; `linear` multiplies each A by every B.
        adapted.add_weighted_adapter(["first", "second"], [*WEIGHTS], "both", combination_type="cat")
        adapted.set_adapter("both")
    return judged_with(adapted.eval(), batch, course, *zip(loras, WEIGHTS, strict=True))
