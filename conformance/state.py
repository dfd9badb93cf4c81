"""State of the process that a cell may leave changed: kept, compared and put back. No other cell answers for it."""

import contextlib
import os
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


class _Library:
    """By owner and public name the functions and classes of the libraries' modules, and the methods of the classes.

    A module is read when it is first seen; after that what it holds is only looked at, which costs a tenth.
    """

    def __init__(self) -> None:
        self._modules: dict[str, Any] = {}  # by path, those that were looked at
        self._sizes: dict[str, int] = {}  # of those that are a library's, how many names each had
        self._code: dict[Any, dict[str, Any]] = {}  # owner -> name -> what stands there

    def settle(self) -> None:
        """Take what stands there now, whoever put it there."""
        for path, module in list(sys.modules.items()):
            known = self._modules.get(path) is module
            if not known or (path in self._sizes and len(vars(module)) != self._sizes[path]):
                self._modules[path] = module
                if _LIBRARY.fullmatch(path) is not None and module is not None:
                    self._read(path, module)
        for owner, name, now in list(self.changes()):
            if now is None:
                del self._code[owner][name]
                continue
            self._code[owner][name] = now
            if isinstance(now, type):
                self._code[now] = _methods(now)

    def changes(self) -> Iterator[tuple[Any, str, Any]]:
        """Owner, name and what stands there now, where that is something else than before."""
        for owner, code in self._code.items():
            here = vars(owner)
            for name, before in code.items():
                now = here.get(name)
                if now is not before:
                    yield owner, name, now

    def before(self, owner: Any, name: str) -> Any:
        """What stood there."""
        return self._code[owner][name]

    def _read(self, path: str, module: Any) -> None:
        self._sizes[path] = len(vars(module))
        public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        self._code[module] = {name: value for name, value in public.items() if isinstance(value, _CODE)}
        for value in self._code[module].values():
            if isinstance(value, type) and value.__module__ == path:
                self._code[value] = _methods(value)


def _methods(owner: type) -> dict[str, Any]:
    return {name: code for name, code in vars(owner).items() if isinstance(code, FunctionType)}


_LIBRARIES = _Library()
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
    before = {name: read() for name, (read, _) in _STATE.items()}
    _LIBRARIES.settle()
    changed: list[str] = []
    variables, folder = dict(os.environ), _working_directory()
    try:
        yield changed
    finally:
        # What was added is left, as libraries tell each other things so. Values are nobody's business.
        lacking = {name: value for name, value in variables.items() if os.environ.get(name) != value}
        if lacking:
            changed.append(f"environment: {len(lacking)} variables, such as {min(lacking)}")
            os.environ.update(lacking)
        if folder is not None and _working_directory() != folder:
            changed.append("working directory")
            with contextlib.suppress(OSError):  # which somebody else has deleted
                os.chdir(folder)
        for name, (read, put_back) in _STATE.items():
            now = read()
            if now != before[name]:
                changed.append(f"{name}: {_words(before[name])} -> {_words(now)}")
                put_back(before[name])
        for owner, name, now in list(_LIBRARIES.changes()):
            code = _LIBRARIES.before(owner, name)
            changed.append(f"{owner.__name__}.{name}: {_words(code)} -> {_words(now)}")
            setattr(owner, name, code)


def _working_directory() -> str | None:
    """None if it has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _words(value: Any) -> str:
    return getattr(value, "__qualname__", None) or str(value)
