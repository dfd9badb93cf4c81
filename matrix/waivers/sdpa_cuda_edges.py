"""scaled_dot_product_attention on an H100: documented calls that go wrong, each in a process, since some end it.

Values are 1, so must the output be. Calls that a kernel does not take go to math. Seen with torch 2.11.0, cuDNN 9.19.
"""

import os

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

HALF, BF16, ONE, TWO, NONE = torch.float16, torch.bfloat16, (1, 1, 1, 8), (1, 1, 2, 8), (0, 1, 1, 512)
CASES = {  # the kernel, dtype, shapes of queries and of keys, a mask, other arguments
    "no key may be attended to": ("CUDNN", HALF, ONE, TWO, [[False, False]], {}),
    "no batch elements": ("EFFICIENT", HALF, NONE, NONE, None, {}),
    "scale 0": ("FLASH", HALF, ONE, ONE, None, {"scale": 0.0}),
    "scale 0 (cuDNN)": ("CUDNN", HALF, ONE, TWO, None, {"scale": 0.0}),
    "keys off any alignment": ("FLASH", HALF, (1, 1, 2, 64), (1, 1, 32, 64), None, {}),
    "mask broadcasts over keys": ("EFFICIENT", HALF, ONE, TWO, [[[[True]]]], {}),
    "mask broadcasts over keys (cuDNN)": ("CUDNN", BF16, (2, 1, 64, 136), (2, 1, 63, 136), [[True]] * 64, {}),
    "mask of one dimension": ("CUDNN", HALF, ONE, ONE, [True], {}),
    "mask beside is_causal": ("EFFICIENT", HALF, ONE, ONE, [[True]], {"is_causal": True})}  # fmt: skip
failed = 0 if torch.cuda.device_count() else 2
print("torch", torch.__version__, "(cannot tell without a GPU)" if failed else "")
for name, (kernel, dtype, queries, keys, mask, more) in () if failed else CASES.items():
    print(f"{name}: expected {'an error' if 'is_causal' in more else int('no key' not in name)}, got", flush=True)
    if os.fork():
        failed |= (os.wait()[1] == 0) == ("is_causal" in more)
        continue
    query, key = (torch.randn(shape, device="cuda", dtype=dtype) for shape in (queries, keys))
    key = torch.cat([key.flatten()[:1], key.flatten()])[1:].view(keys) if name == "keys off any alignment" else key
    qkv = query.requires_grad_(), key.requires_grad_(), torch.ones_like(key, requires_grad=True)
    try:
        with sdpa_kernel([getattr(SDPBackend, f"{kernel}_ATTENTION"), SDPBackend.MATH]):
            output = torch.nn.functional.scaled_dot_product_attention(*qkv, mask and torch.tensor(mask).cuda(), **more)
        finite = all(bool(grad.isfinite().all()) for grad in torch.autograd.grad(output.sum(), qkv))
        print(f"    {output.flatten()[:2].tolist()}, {'finite' if finite else 'not finite'} gradients", flush=True)
        raise SystemExit(not (finite and (output - float("no key" not in name)).abs().lt(0.02).all()))
    except (IndexError, RuntimeError) as error:
        raise SystemExit(f"    {type(error).__name__}: {str(error).splitlines()[0]}") from None
raise SystemExit(failed)
