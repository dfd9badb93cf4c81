"""`torch.backends.cuda.sdp_kernel(enable_flash=True, enable_math=False, enable_mem_efficient=False)` on a Hopper GPU.

Written before cuDNN's kernel was there, it means "flash alone". Since torch 2.5 it has an argument enable_cudnn, True
by default, and on Hopper cuDNN comes first: the flash kernel does not run. Needs such a GPU.
"""

import warnings

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

warnings.simplefilter("ignore")
old = torch.backends.cuda.sdp_kernel
FLASH, REFUSED = "aten::_scaled_dot_product_flash_attention", "RuntimeError"
FORMS = {
    "sdpa_kernel([FLASH_ATTENTION])": (FLASH, sdpa_kernel([SDPBackend.FLASH_ATTENTION])),
    "flash alone, cuDNN named too": (FLASH, old(True, False, False, enable_cudnn=False)),
    "flash alone, as it was written": (FLASH, old(enable_flash=True, enable_math=False, enable_mem_efficient=False)),
    "none, as it was written": (REFUSED, old(enable_flash=False, enable_math=False, enable_mem_efficient=False)),
}

wrong = False
print("torch", torch.__version__)
if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (9, 0):
    print("cannot tell without a Hopper GPU")
    raise SystemExit(2)
print(torch.cuda.get_device_name())
query = torch.randn(1, 16, 128, 64, device="cuda", dtype=torch.float16)
for name, (expected, form) in FORMS.items():
    try:
        with form, torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)
        seen = {event.key for event in profile.key_averages() if "_scaled_dot_product" in event.key}
    except RuntimeError as error:
        print(f"RuntimeError: {error}")
        seen = {"RuntimeError"}
    print(f"{name}: expected {expected}, got {seen}")
    wrong |= expected not in seen
raise SystemExit(wrong)
