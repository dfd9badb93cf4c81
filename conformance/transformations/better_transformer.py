"""BetterTransformer. Scripts carry it along."""

from conformance.spellings import to_bettertransformer


def transform(model, course):
    """Convert it."""
    with course.during("transform"):
        return to_bettertransformer(model)
