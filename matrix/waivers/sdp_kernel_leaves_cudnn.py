"""`torch.backends.cuda.sdp_kernel(enable_flash=True, enable_math=False, enable_mem_efficient=False)` on a Hopper GPU.

Written before cuDNN's kernel was there, it means "flash alone". Since torch 2.5 it has an argument enable_cudnn that is
True by default, and on Hopper cuDNN comes first: the flash kernel does not run. Prints the op that ran for each form.
"""

import warnings

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

warnings.simplefilter("ignore")


class Seen(TorchDispatchMode):
    """Keeps the names of attention ops."""

    names = ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "attention" in func._schema.name:
            Seen.names = {*Seen.names, func._schema.name}
        return func(*args, **(kwargs or {}))


def ran(context):
    """The attention ops of one call."""
    Seen.names = ()
    query = torch.randn(1, 16, 128, 64, device="cuda", dtype=torch.float16)
    try:
        with context, Seen():
            torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)
    except RuntimeError as error:
        return f"RuntimeError: {error}"
    return sorted(Seen.names)


old = torch.backends.cuda.sdp_kernel
print("torch", torch.__version__, torch.cuda.get_device_name())
print("flash alone, as the guide has it:", ran(old(enable_flash=True, enable_math=False, enable_mem_efficient=False)))
print("none, in the same way:           ", ran(old(enable_flash=False, enable_math=False, enable_mem_efficient=False)))
everything_off = {f"enable_{name}": False for name in ("math", "mem_efficient", "cudnn")}
print("flash alone, cuDNN named too:    ", ran(old(enable_flash=True, **everything_off)))
print("sdpa_kernel([FLASH_ATTENTION]):  ", ran(sdpa_kernel([SDPBackend.FLASH_ATTENTION])))
