"""Differences are gathered by what explains them, and what is another cause stays apart."""

import pytest

from reports.differences import Aspect, Difference, Kind, groups


def difference(name: str, aspect: Aspect, *causes: str) -> Difference:
    return Difference(Kind.CHANGE, aspect, name, (), causes, "")


@pytest.mark.parametrize(
    ("aspect", "one", "other"),
    [
        (Aspect.KERNELS, "sdpa, kernels: flash -> math", "sdpa, kernels: math -> flash"),
        (Aspect.FALLBACK, "kernels: flash -> math", "kernels: math -> flash"),
        (Aspect.ACCURACY, "gemma2 nearer to its bounds", "gemma3 nearer to its bounds"),
        (Aspect.TIME, "flash_attention_2: time", "flash_attention_3: time"),
        (Aspect.FIGURES, "C1: after 8 tokens", "C1: after 64 tokens"),
        (Aspect.MESSAGE, "no argument 'load_in_8bit'", "no argument 'load_in_4bit'"),
    ],
)
def test_two_causes_are_two_groups(aspect: Aspect, one: str, other: str) -> None:
    found = groups([difference("a", aspect, one), difference("b", aspect, other), difference("c", aspect, one)])
    assert [(group.cause, len(group.differences)) for group in found] == [(one, 2), (other, 1)]


def test_what_passes_in_the_words_of_a_library_makes_no_other_cause() -> None:
    said = ["LlamaModel: 3 of 4 in /tmp/a", "OPTModel: 1 of 12 in /tmp/b"]
    (group,) = groups([difference(cause, Aspect.MESSAGE, cause) for cause in said])
    assert len(group.differences) == 2
