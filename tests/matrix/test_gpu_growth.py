"""What cells leave on a GPU beside what torch knows of counts where nothing was loaded for the first time."""

import pytest

from matrix.cell import parse_cell
from matrix.gpu_growth import NOTICED_MIB, GpuGrowth

SDPA, EAGER = "llama-bfloat16-sdpa-prefill", "llama-bfloat16-eager-prefill"


def noted(*told: tuple[str, float], completed: bool = True) -> tuple[GpuGrowth, list[float]]:
    growth = GpuGrowth()
    return growth, [growth.note(parse_cell(cell), mib, completed=completed) for cell, mib in told]


def test_the_first_of_a_kind_loads_and_the_next_leaks() -> None:
    growth, said = noted((SDPA, 500.0), (SDPA, 100.0), (SDPA, 100.0))
    assert said == [0.0, 100.0, 100.0]
    assert (growth.mib, growth.cells) == (200.0, 2)


@pytest.mark.parametrize(
    "other",
    [
        EAGER,
        "llama-float16-sdpa-prefill",
        "gpt2-bfloat16-sdpa-prefill",
        "llama-bfloat16-sdpa-flash-prefill",
        "llama-bfloat16-sdpa-nf4-prefill",
        "llama-bfloat16-sdpa-generate",
    ],
)
def test_another_kind_loads_too(other: str) -> None:
    assert noted((SDPA, 0.0), (other, 500.0), (other, 500.0))[1] == [0.0, 0.0, 500.0]


def test_what_was_loaded_by_different_cells_is_loaded() -> None:
    told = [("llama-bfloat16-eager-prefill", 9.0), ("gpt2-bfloat16-sdpa-prefill", 9.0), (SDPA, 99.0)]
    assert noted(*told)[1] == [0.0, 0.0, 99.0]


def test_padding_loads_nothing() -> None:
    assert noted((SDPA, 9.0), ("llama-bfloat16-sdpa-left-prefill", 99.0))[1] == [0.0, 99.0]


def test_what_is_compiled_is_loaded_for_each_cell() -> None:
    flex, padded = "llama-bfloat16-flex_attention-prefill", "llama-bfloat16-flex_attention-left-prefill"
    assert noted((flex, 99.0), (padded, 99.0), (flex, 99.0))[1] == [0.0, 0.0, 99.0]


def test_who_did_not_come_to_the_end_may_not_have_loaded_all() -> None:
    growth, said = noted((SDPA, 99.0), (SDPA, 99.0), completed=False)
    assert (said, growth.cells) == ([0.0, 0.0], 0)


def test_little_by_little_adds_up_and_what_comes_back_is_taken_off() -> None:
    little = NOTICED_MIB / 2
    growth, said = noted((SDPA, 0.0), *[(SDPA, little)] * 10, (SDPA, -little))
    assert not any(said)
    assert (growth.mib, growth.cells) == (9 * little, 11)
