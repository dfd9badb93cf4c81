"""bitsandbytes on a CPU with AVX512-BF16: 4-bit layers compute in bfloat16 whatever bnb_4bit_compute_dtype says.

The kernel registered for bitsandbytes::gemv_4bit casts float32 and float16 activations, and the block scales, to
bfloat16 and the result back. A float32 model loses five decimal digits without a word. On other CPUs it is not there.
"""

import bitsandbytes
import torch
from bitsandbytes.functional import dequantize_4bit, has_avx512bf16
from bitsandbytes.nn import Linear4bit

print("torch", torch.__version__, "bitsandbytes", bitsandbytes.__version__, "AVX512-BF16:", has_avx512bf16())
torch.manual_seed(0)
dense, inputs, wrong = torch.randn(128, 128), torch.randn(8, 128), False
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    layer = Linear4bit(128, 128, bias=False, compute_dtype=dtype, quant_type="nf4").eval()
    layer.weight.data = dense.clone()
    layer = layer.to("cpu")
    rounded = inputs.to(dtype)
    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).double()
    truth = rounded.double() @ weight.T
    with torch.no_grad():
        found = layer(rounded).double()
    error, unit = float((found - truth).norm() / truth.norm()), torch.finfo(dtype).eps / 2
    print(f"{dtype!s:15} relative error {error:.2e}, expected about the rounding unit, {unit:.2e}")
    wrong |= error > 4 * unit
raise SystemExit(wrong)
