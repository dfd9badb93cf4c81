"""Makes another release of transformers of the one that is installed: what differs, the variable PLANTED names.

Its folder stands first on the path of a candidate's processes, each of which Python has import this before anything
else. Nothing of the suite knows of it, and nothing else of the environment differs.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

PLANTED = "PLANTED"  # the variable that names the kind
_MORE = 0.3  # of the time or memory
_OTHER_WORDS = "This release says it in other words."


def _message() -> None:
    """A refusal has another text."""
    _wrap_loading(_in_other_words)


def _in_other_words(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return load(*args, **kwargs)
    except (ValueError, ImportError) as error:
        raise type(error)(_OTHER_WORDS) from error


def _refusal() -> None:
    """What was refused loads, and something else than was asked for runs."""
    _wrap_loading(_with_what_there_is)


def _with_what_there_is(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return load(*args, **kwargs)
    except (ValueError, ImportError):
        if "flash_attention_2" not in (kwargs.get("attn_implementation"), _asked(kwargs.get("config"))):
            raise
        if "config" in kwargs:
            kwargs["config"]._attn_implementation = "sdpa"
        return load(*args, **{**kwargs, "attn_implementation": "sdpa"})


def _asked(config: Any) -> str | None:
    return getattr(config, "_attn_implementation_internal", None)


def _wrap_loading(around: Callable[..., Any]) -> None:
    from transformers.modeling_utils import PreTrainedModel

    usual = PreTrainedModel.from_pretrained.__func__

    def from_pretrained(cls: type, *args: Any, **kwargs: Any) -> Any:
        return around(usual, cls, *args, **kwargs)

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)


def _kernel() -> None:
    """SDPA takes no fused kernel where it may choose."""
    from torch.backends import cuda

    for switch in (cuda.enable_flash_sdp, cuda.enable_cudnn_sdp, cuda.enable_mem_efficient_sdp):
        switch(False)


def _slower() -> None:
    """Attention takes longer: as long as makes a whole pass 30 % slower, on whatever device."""
    _wrap_loading(_with_slow_passes)


def _with_slow_passes(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    import torch

    found = load(*args, **kwargs)
    model = found[0] if isinstance(found, tuple) else found  # beside it may be what loading has to say
    began = [0.0]

    def begin(*_: Any) -> None:
        began[0] = time.perf_counter()

    def wait(model: Any, *_: Any) -> None:
        if _asked(model.config) != "sdpa":
            return
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # else the GPU has not done yet what the wait is a part of, and hides it
        ended = time.perf_counter()
        while time.perf_counter() < ended + _MORE * (ended - began[0]):
            pass

    model.register_forward_pre_hook(begin)
    model.register_forward_hook(wait)
    return found


def _memory() -> None:
    """Attention takes more memory: the most that was in use until then, and 30 % beyond it."""
    import torch
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    usual = ALL_ATTENTION_FUNCTIONS["sdpa"]
    highest = [0]  # as torch says since what was planted last

    def attend(*args: Any, **kwargs: Any) -> Any:
        found = usual(*args, **kwargs)
        if torch.cuda.is_initialized() and (peak := torch.cuda.max_memory_allocated()) != highest[0]:
            more = int((1 + _MORE) * peak) - torch.cuda.memory_allocated()
            torch.empty(more, dtype=torch.uint8, device="cuda")
            highest[0] = torch.cuda.max_memory_allocated()
        return found

    ALL_ATTENTION_FUNCTIONS.register("sdpa", attend)


KINDS: Mapping[str, Callable[[], None]] = {
    "message": _message,
    "refusal": _refusal,
    "kernel": _kernel,
    "slower": _slower,
    "memory": _memory,
}


class _AsImported(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Plants once the module is there in which everything planted is."""

    module = "transformers.modeling_utils"

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """That of the module, loaded by this."""
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        self.usual, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As usual."""
        return self.usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As usual, and then what is planted."""
        self.usual.exec_module(module)
        KINDS[os.environ[PLANTED]]()


sys.meta_path.insert(0, _AsImported())
