"""State of the process that a cell may leave changed: kept, compared and put back. No other cell answers for it."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch


def _set_device(device: torch.device) -> None:
    # With a default device torch enters a mode for each call; none is what there was before.
    torch.set_default_device(None if device.type == "cpu" else device)


# The modules in which a library's functions and classes stand; what a cell patches there, all later ones would run.
_LIBRARY = re.compile(
    r"torch\.nn\.functional|torch\.nn\.modules\.\w+"
    r"|transformers\.(models\.\w+\.modeling_\w+|integrations\.\w+|modeling_\w+|\w+_utils|generation\.\w+)"
)
_CODE = (FunctionType, BuiltinFunctionType, type)


def _library() -> dict[tuple[Any, str], Any]:
    """By owner and public name the functions and classes of the libraries' modules, and the methods of the classes."""
    found: dict[tuple[Any, str], Any] = {}
    for path, module in list(sys.modules.items()):
        if _LIBRARY.fullmatch(path) is None or module is None:
            continue
        for name, value in list(vars(module).items()):
            if not isinstance(value, _CODE) or name.startswith("_"):
                continue
            found[module, name] = value
            if isinstance(value, type) and value.__module__ == path:
                methods = ((method, code) for method, code in vars(value).items() if isinstance(code, FunctionType))
                found |= {(value, method): code for method, code in methods}
    return found


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
}


@contextlib.contextmanager
def kept() -> Iterator[list[str]]:
    """Put back on leaving whatever was changed within; the list then says what that was."""
    before, library = {name: read() for name, (read, _) in _STATE.items()}, _library()
    changed: list[str] = []
    try:
        yield changed
    finally:
        for name, (read, put_back) in _STATE.items():
            now = read()
            if now != before[name]:
                changed.append(f"{name}: {_words(before[name])} -> {_words(now)}")
                put_back(before[name])
        for (owner, name), code in library.items():
            now = vars(owner).get(name)
            if now is not code:
                changed.append(f"{owner.__name__}.{name}: {_words(code)} -> {_words(now)}")
                setattr(owner, name, code)


def _words(value: Any) -> str:
    return getattr(value, "__qualname__", None) or str(value)
