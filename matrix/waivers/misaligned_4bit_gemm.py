"""bitsandbytes 0.50: its CUDA kernel for products in 4 bits stores two 16-bit numbers at once, misaligned for odd N.

`mma_store_accum` (csrc/gemm_4bit_mma.cuh) writes C[m * N + n] as 32 bits for even n: with an odd number of outputs
every other row begins at an address that is no multiple of 4, and the device is lost ("misaligned address"). Ovis2's
head_linear has vocab_size - 5 outputs (16,379 by default). Seen with 64 rows (torch 2.11, an H100), not with up to 32,
which another kernel takes. Needs a GPU.
"""

import bitsandbytes
import torch
from bitsandbytes import functional

print("torch", torch.__version__)
if not torch.cuda.is_available():
    print("cannot tell without a CUDA device: on a CPU another kernel runs")
    raise SystemExit(2)
print("bitsandbytes", bitsandbytes.__version__, "on", torch.cuda.get_device_name())
torch.manual_seed(0)
rows = torch.randn(64, 64, dtype=torch.bfloat16, device="cuda")
for outputs in (252, 251):
    weight = torch.randn(outputs, 64, dtype=torch.bfloat16, device="cuda")
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    right = rows @ functional.dequantize_4bit(packed, state).t()
    try:
        found = bitsandbytes.matmul_4bit(rows, packed.t(), quant_state=state)
        torch.cuda.synchronize()
    except RuntimeError as error:
        print(f"{outputs} outputs: expected a product, seen {str(error).splitlines()[0]}")
        raise SystemExit(1) from None
    print(f"{outputs} outputs: off by at most {float((found - right).abs().max()):.3g}")
