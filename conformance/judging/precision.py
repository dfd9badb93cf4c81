"""A golden run in true float64. Scripts carry it along."""

from contextlib import contextmanager, nullcontext

import torch
from torch.overrides import TorchFunctionMode

from conformance.spellings import pinned


@contextmanager
def without_tf32():
    """References multiply float32 matrices in float32, whatever the user has allowed."""
    usual = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = usual


@contextmanager
def convolutions_in_float32():
    """A candidate convolves in its own dtype. TF32, which torch takes by default, is a thousand times as coarse."""
    usual = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = usual


class TrueFloat64(TorchFunctionMode):
    """Turns every request for float32 into one for float64.

    Model code upcasts softmax and norms to float32 by name, which in a float64 run is a downcast:
    it costs the golden run its precision, and `finfo(float64).min` in a mask overflows to -inf there,
    so that fully masked rows turn into NaN.

    Logarithms stay in float32: models take them to sort distances into buckets (T5), which is part of what
    they are, and a more precise one falls into another bucket now and then.
    """

    def __enter__(self):
        # Nobody names the default, and finfo(float64).min does not fit into float32.
        self.usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error):
        torch.set_default_dtype(self.usual)
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.log:
            return func(args[0].to(torch.float32))
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*args, **kwargs)


@contextmanager
def exactly(dtype, golden):
    """How references run: SDPA's math kernel where they call SDPA, and of a float32 cell golden in true float64."""
    exact = TrueFloat64() if golden and dtype == "float32" else nullcontext()
    with without_tf32(), pinned("math"), exact:
        yield
