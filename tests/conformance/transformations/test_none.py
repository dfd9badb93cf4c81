"""The model as it was loaded."""

from conformance.transformations.none import transform


def test_the_model_is_left() -> None:
    model = object()
    assert transform(model, None) is model
