"""Several documents in one row, and nothing said of a cache."""

from pathlib import Path

import pytest

from tests.rooms import must_hold_apart


@pytest.mark.parametrize("cell", ["llama-bfloat16-sdpa-packed_by_default", "gpt2-float32-eager-packed_by_default"])
def test_it_sees_documents_that_see_one_another_and_no_others(cache: Path, cell: str) -> None:
    must_hold_apart(cell, cache)
