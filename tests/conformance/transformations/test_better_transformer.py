"""BetterTransformer; what it does where it still runs is tested with the guide."""

from collections.abc import Iterator
from contextlib import contextmanager

from conformance.transformations.better_transformer import transform


class Model:
    def to_bettertransformer(self) -> str:
        return "converted"


class Course:
    def __init__(self) -> None:
        self.phases: list[str] = []

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        self.phases.append(phase)
        yield


def test_the_model_is_converted_in_a_phase_of_its_own() -> None:
    course = Course()
    assert transform(Model(), course) == "converted"
    assert course.phases == ["transform"]
