"""A golden run in true float64. Needs only torch: reproducing scripts carry it along."""

import torch
from torch.overrides import TorchFunctionMode


class TrueFloat64(TorchFunctionMode):
    """Turns every request for float32 into one for float64.

    Model code upcasts softmax and norms to float32 by name, which in a float64 run is a downcast:
    it costs the golden run its precision, and `finfo(float64).min` in a mask overflows to -inf there,
    so that fully masked rows turn into NaN.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*args, **kwargs)
