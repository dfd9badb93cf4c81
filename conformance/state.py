"""State of the process that a cell may leave changed: kept, compared and put back. No other cell answers for it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch


def _set_device(device: torch.device) -> None:
    # With a default device torch enters a mode for each call; none is what there was before.
    torch.set_default_device(None if device.type == "cpu" else device)


def _attention() -> Any:
    return torch.nn.functional.scaled_dot_product_attention


def _set_attention(function: Any) -> None:
    torch.nn.functional.scaled_dot_product_attention = function


_CUDA = torch.backends.cuda
# By name how it is read, and how it is put back.
_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (torch.get_default_device, _set_device),
    "flash kernel of SDPA": (_CUDA.flash_sdp_enabled, _CUDA.enable_flash_sdp),
    "mem-efficient kernel of SDPA": (_CUDA.mem_efficient_sdp_enabled, _CUDA.enable_mem_efficient_sdp),
    "math kernel of SDPA": (_CUDA.math_sdp_enabled, _CUDA.enable_math_sdp),
    "cuDNN kernel of SDPA": (_CUDA.cudnn_sdp_enabled, _CUDA.enable_cudnn_sdp),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "precision of float32 products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "scaled_dot_product_attention": (_attention, _set_attention),
}


@contextlib.contextmanager
def kept() -> Iterator[list[str]]:
    """Put back on leaving whatever was changed within; the list then says what that was."""
    before = {name: read() for name, (read, _) in _STATE.items()}
    changed: list[str] = []
    try:
        yield changed
    finally:
        for name, (read, put_back) in _STATE.items():
            now = read()
            if now != before[name]:
                changed.append(f"{name}: {_words(before[name])} -> {_words(now)}")
                put_back(before[name])


def _words(value: Any) -> str:
    return getattr(value, "__qualname__", None) or str(value)
