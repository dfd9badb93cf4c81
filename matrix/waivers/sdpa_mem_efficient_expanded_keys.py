"""scaled_dot_product_attention, mem-efficient kernel: wrong results where keys and values are expanded over heads.

One key/value head expanded over eight (stride 0), bfloat16, a boolean mask, and one key more than a multiple of 32.
Compared with the formula in float64; contiguous copies of the same tensors are right. Needs a CUDA GPU.
"""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

wrong = False
print("torch", torch.__version__)
if not torch.cuda.is_available():
    print("cannot tell without a CUDA GPU")
    raise SystemExit(2)
print(torch.cuda.get_device_name())
for length in (32, 33, 34, 40, 64, 65, 97, 129):
    torch.manual_seed(0)
    query = torch.randn(1, 8, length, 64).to("cuda", torch.bfloat16)
    key, value = (torch.randn(1, 1, length, 64).to("cuda", torch.bfloat16).expand(-1, 8, -1, -1) for _ in range(2))
    mask = torch.ones(length, length, dtype=torch.bool, device="cuda").tril()[None, None]
    scores = (query.double() @ key.double().transpose(-1, -2)) / 8
    truth = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ value.double()
    errors = []
    for tensors in ((key, value), (key.contiguous(), value.contiguous())):
        with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION]):
            found = torch.nn.functional.scaled_dot_product_attention(query, *tensors, mask)
        errors.append(float((found.double() - truth).abs().max()))
    print(f"{length:4} keys: expected the same largest error, {errors[0]:.3g} expanded, {errors[1]:.3g} contiguous")
    wrong |= not errors[0] <= 4 * errors[1]
raise SystemExit(wrong)
