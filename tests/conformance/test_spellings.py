"""What releases leave behind."""

import pytest
import torch

from conformance import spellings


def test_a_load_that_raises_leaves_no_default_dtype_behind() -> None:
    def load_as_4_48_does() -> None:
        with spellings.default_dtype_kept():
            torch.set_default_dtype(torch.bfloat16)
            raise ValueError("no such attention")

    with pytest.raises(ValueError, match="no such attention"):
        load_as_4_48_does()
    assert torch.get_default_dtype() == torch.float32
