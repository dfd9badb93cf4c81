"""bitsandbytes on a CPU with AVX512-BF16: 4-bit layers of many sizes load and then raise in their first forward pass.

`Linear4bit.forward` packs the weight for the CPU's kernel whatever its shape. `_convert_weight_packed_for_cpu` asks
that out_features be a multiple of 32, and makes a grid of block scales that has in_features // blocksize columns, which
fits multiples of 64 alone. Without AVX512-BF16, in training or on a GPU the same layers work.
"""

import bitsandbytes
import torch
from bitsandbytes.functional import has_avx512bf16

SIZES = {
    (1024, 1024): "an ordinary layer",
    (1024, 8): "a router of eight experts as JetMoE's, a head of eight classes",
    (2048, 48): "in_proj_b of 48 heads, as Qwen3.5's",
    (1152, 4304): "fc1 of SigLIP so400m",
    (4304, 1152): "fc2 of SigLIP so400m",
    (32, 256): "SegFormer's first layers",
}

print("torch", torch.__version__, "bitsandbytes", bitsandbytes.__version__, "AVX512-BF16:", has_avx512bf16())
torch.manual_seed(0)
raised = 0
for (before, after), what in SIZES.items():
    layer = bitsandbytes.nn.Linear4bit(before, after, bias=False, quant_type="nf4", compute_dtype=torch.bfloat16)
    layer = layer.to("cpu").eval()
    try:
        seen = tuple(layer(torch.randn(2, before, dtype=torch.bfloat16)).shape)
    except (AssertionError, RuntimeError) as error:
        seen = f"{type(error).__name__}: {error}"
        raised += 1
    print(f"{before} to {after} ({what}): expected (2, {after}), seen {seen}")
raise SystemExit(raised > 0)
