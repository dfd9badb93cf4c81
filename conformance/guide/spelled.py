"""from_pretrained as the guide writes it, and as it is written today.

`torch_dtype` became `dtype`, which older releases do not know. Where the recipe is about something else, the name is
that of the stack, so that one change of spelling does not hide another.
"""

from typing import Any

import transformers

from conformance import spellings
from conformance.lab import Lab
from conformance.models.loading import torch_dtype
from matrix.axes import Dtype
from matrix.guide import Spelling


def load(
    lab: Lab,
    name: str,
    spelling: Spelling,
    *,
    attention: str = "eager",
    dtype: Dtype | None = None,
    quantisation: str = "none",
    **more: Any,
) -> Any:
    """A model of the architecture, quantised by a flag or by a `quantization_config`."""
    given: dict[str, Any] = {"attn_implementation": attention, **more}
    if dtype is not None:
        given[spellings.DTYPE_ARGUMENT] = torch_dtype(dtype)
    if quantisation != "none":
        flags = {"load_in_8bit" if quantisation == "int8" else "load_in_4bit": True}
        given |= flags if spelling is Spelling.GUIDE else {"quantization_config": bits_and_bytes(flags, dtype)}
    return lab.load_as(name, **given)


def load_in(lab: Lab, name: str, spelling: Spelling, dtype: Dtype, **more: Any) -> Any:
    """A model of the architecture in `torch_dtype`, or in `dtype`."""
    return lab.load_as(name, **{dtype_argument(spelling): torch_dtype(dtype)}, **more)


def dtype_argument(spelling: Spelling) -> str:
    """The name of the argument."""
    return "dtype" if spelling is Spelling.TODAY else "torch_dtype"


def bits_and_bytes(flags: dict[str, bool], dtype: Dtype | None) -> Any:
    """Today's config for the guide's flags; 4-bit weights meet inputs in the model's dtype."""
    computed = {"bnb_4bit_compute_dtype": torch_dtype(dtype)} if dtype and "load_in_4bit" in flags else {}
    return transformers.BitsAndBytesConfig(**flags, **computed)
