"""The choice of an SDPA kernel (G10, G11)."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from conformance.lab import Lab, Raised, Violated
from matrix.axes import Dtype
from matrix.guide import Spelling
from matrix.kernels import kernels_seen


def flash_only_generate(lab: Lab, spelling: Spelling) -> None:
    """OPT in float16 generates where only the flash kernel is allowed, and it is the flash kernel that runs."""
    _generates_by_flash(lab, spelling, lab.load("opt", "sdpa", Dtype.FLOAT16))


def flash_only_generate_padded(lab: Lab, spelling: Spelling) -> None:
    """The same with padding: a mask, which torch's flash kernel does not take on CUDA."""
    model = lab.load("opt", "sdpa", Dtype.FLOAT16)
    _generates_by_flash(lab, spelling, model, padding="-left")


def flash_only_float32(lab: Lab, spelling: Spelling) -> None:
    """OPT as it is loaded without a dtype, in float32, where only the flash kernel is allowed."""
    model = lab.load("opt", "sdpa", Dtype.FLOAT32)
    _generates_by_flash(lab, spelling, model, dtype=Dtype.FLOAT32)


def cast_to_half(lab: Lab, spelling: Spelling) -> None:
    """The remedy: the float32 model that found no kernel runs after `.half()`."""
    model = lab.load("opt", "sdpa", Dtype.FLOAT32)
    try:
        _generates_by_flash(lab, spelling, model, dtype=Dtype.FLOAT32)
    except Raised as error:
        if "No available kernel" not in str(error):
            raise
    _generates_by_flash(lab, spelling, model.half())


def no_kernel_allowed(lab: Lab, spelling: Spelling) -> None:
    """Every kernel is switched off."""
    model = lab.load("opt", "sdpa", Dtype.FLOAT16)
    with _allowed(spelling, flash=False):
        lab.cell("opt-float16-sdpa-generate", model)


def _generates_by_flash(
    lab: Lab, spelling: Spelling, model: Any, *, dtype: Dtype = Dtype.FLOAT16, padding: str = ""
) -> None:
    with _allowed(spelling, flash=True):
        seen = kernels_seen(lab.cell(f"opt-{dtype}-sdpa{padding}-generate", model))
    if seen != ("flash",):
        raise Violated(f"only the flash kernel was allowed, and {', '.join(seen)} ran")


def _allowed(spelling: Spelling, *, flash: bool) -> AbstractContextManager[Any]:
    if spelling is Spelling.TODAY:
        return sdpa_kernel([SDPBackend.FLASH_ATTENTION] if flash else [])
    return torch.backends.cuda.sdp_kernel(enable_flash=flash, enable_math=False, enable_mem_efficient=False)
