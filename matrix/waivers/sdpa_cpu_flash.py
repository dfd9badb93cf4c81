"""scaled_dot_product_attention on a CPU, flash kernel: three calls that go wrong and are right through math.

A causal call with a scale of zero or below gives NaN; a mask of one dimension raises an IndexError; a mask beside
is_causal=True is accepted, though the documentation says that it is an error. Seen with torch 2.13.0.
aten/src/ATen/native/cpu/FlashAttentionKernel.cpp and native/transformers/attention.cpp.
"""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

wrong = False
print("torch", torch.__version__)
torch.manual_seed(0)
ones, drawn = torch.ones(1, 1, 2, 8), torch.randn(1, 1, 2, 8)
calls = {
    "is_causal, scale 0": (ones, {"is_causal": True, "scale": 0.0}),
    "is_causal, scale -0.5": (ones, {"is_causal": True, "scale": -0.5}),
    "mask of one dimension": (drawn, {"attn_mask": torch.tensor([True, False])}),
    "mask and is_causal": (drawn, {"attn_mask": torch.ones(2, 2, dtype=torch.bool), "is_causal": True}),
}
for name, (tensor, arguments) in calls.items():
    found = []
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel([backend]):
            try:
                output = torch.nn.functional.scaled_dot_product_attention(tensor, tensor, tensor, **arguments)
                found.append(str([round(value, 3) for value in output[0, 0, :, 0].tolist()]))
            except (IndexError, RuntimeError) as error:
                found.append(f"{type(error).__name__}: {error}")
    print(f"{name}: expected (math) {found[0]}, seen (flash) {found[1]}")
    wrong |= found[0].split(":")[0] != found[1].split(":")[0]
raise SystemExit(wrong)
