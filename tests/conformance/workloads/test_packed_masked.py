"""Several documents in one row, under a mask of ones."""

from pathlib import Path

import pytest

from matrix.verdict import Verdict
from tests.rooms import DOCUMENTS_LOOKED_FOR, observed

CELLS = pytest.mark.parametrize("cell", ["llama-bfloat16-sdpa-packed_masked", "gpt2-float32-eager-packed_masked"])


@CELLS
def test_it_holds_once_the_library_looks_for_documents(cache: Path, cell: str) -> None:
    observation, judgement = observed(cell, cache, DOCUMENTS_LOOKED_FOR)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert observation.comparisons[0].positions == 144 + 108 + 72 + 36


@CELLS
def test_it_sees_that_documents_see_one_another(cache: Path, cell: str) -> None:
    """transformers#46634: the library looks for documents only in a call without cache and mask."""
    assert observed(cell, cache)[1].verdict is Verdict.INACCURATE
