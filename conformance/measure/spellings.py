"""Every difference between releases of the libraries, in one place. No version check stands anywhere else."""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any

import torch
import transformers
from torch.utils._python_dispatch import _disable_current_modes
from packaging.version import Version

from matrix.axes import Quantisation, SdpaKernel

TRANSFORMERS = Version(metadata.version("transformers"))

# transformers renamed the argument in 4.56 and kept the old name as an alias.
DTYPE_ARGUMENT = "dtype" if TRANSFORMERS >= Version("4.56") else "torch_dtype"

# Class flags by which a model declares what it supports; 5.x merged the flash attention ones.
DECLARED_FLAGS = (
    "_supports_sdpa",
    "_supports_flash_attn",
    "_supports_flash_attn_2",
    "_supports_flex_attn",
    "_supports_attention_backend",
    "_supports_static_cache",
)

_SDP_BACKEND = {
    SdpaKernel.FLASH: "FLASH_ATTENTION",
    SdpaKernel.MEM_EFFICIENT: "EFFICIENT_ATTENTION",
    SdpaKernel.MATH: "MATH",
    SdpaKernel.CUDNN: "CUDNN_ATTENTION",
}


def pinned(kernel: SdpaKernel) -> AbstractContextManager[Any]:
    """The context in which `scaled_dot_product_attention` may use this kernel alone."""
    if kernel is SdpaKernel.UNPINNED:
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel([getattr(SDPBackend, _SDP_BACKEND[kernel])])


def quantization_config(quantisation: Quantisation, compute_dtype: torch.dtype) -> Any:
    """The `BitsAndBytesConfig` of a value on the quantisation axis."""
    if quantisation is Quantisation.INT8:
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="fp4" if quantisation is Quantisation.FP4 else "nf4",
        bnb_4bit_use_double_quant=quantisation is Quantisation.NF4_DOUBLE_QUANT,
        bnb_4bit_compute_dtype=compute_dtype,
    )


@contextlib.contextmanager
def counting_flex_calls(count: Callable[[], None]) -> Iterator[None]:
    """Call `count` whenever transformers enters its compiled flex_attention; nothing where it has none.

    What it compiles, the attention and its block mask, runs without the dispatch mode that watches the
    rest: under a mode torch would not compile, and something else than the user's code would run.
    """
    with contextlib.ExitStack() as stack:
        for module_name, name, wanted in (
            ("transformers.integrations.flex_attention", "compile_friendly_flex_attention", count),
            ("transformers.masking_utils", "create_block_mask", lambda: None),
        ):
            try:
                module = importlib.import_module(module_name)
            except ImportError:
                continue
            if hasattr(module, name):
                stack.enter_context(_unwatched(module, name, wanted))
        yield


@contextlib.contextmanager
def _unwatched(module: Any, name: str, count: Callable[[], None]) -> Iterator[None]:
    original = getattr(module, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        count()
        with _disable_current_modes():
            return original(*args, **kwargs)

    setattr(module, name, call)
    try:
        yield
    finally:
        setattr(module, name, original)


def quieten() -> None:
    """Stop progress bars; warnings are collected as evidence instead of printed."""
    transformers.logging.disable_progress_bar()
    transformers.logging.disable_default_handler()
