"""scaled_dot_product_attention, cuDNN kernel: NaN gradients where every score is very negative.

A mask, a length of half a tile (length % 128 == 64) and all logits near -120: the output is right, the gradient of
the queries is NaN. Needs a CUDA GPU that cuDNN attention supports.
"""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

wrong = False
print("torch", torch.__version__, "cuDNN", torch.backends.cudnn.version())
if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
    print("cannot tell without a GPU that cuDNN attention supports")
    raise SystemExit(2)
print(torch.cuda.get_device_name())
for length in (640, 704):
    for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH):
        torch.manual_seed(0)
        query, key, value = (torch.randn(1, 1, length, 64).to("cuda", torch.bfloat16) for _ in range(3))
        query, key = query * 0.1, key * 0.1
        query[..., 0], key[..., 0] = 1.0, -120 * 8
        leaves = [tensor.requires_grad_() for tensor in (query, key, value)]
        mask = torch.ones(length, length, dtype=torch.bool, device="cuda").tril()[None, None]
        with sdpa_kernel([backend]):
            output = torch.nn.functional.scaled_dot_product_attention(*leaves, mask)
        output.sum().backward()
        bad = [int((~leaf.grad.isfinite()).sum()) for leaf in leaves]
        finite = bool(output.isfinite().all())
        print(f"{length} {backend.name}: output finite {finite};", end=" ")
        print(f"not finite in the gradients of q, k, v: expected [0, 0, 0], seen {bad}")
        wrong |= not finite or any(bad)
raise SystemExit(wrong)
