"""The fast path of nn.TransformerEncoderLayer on CUDA: its GELU is the tanh approximation, whatever was asked for.

`_transformer_encoder_layer_fwd(use_gelu=True)` goes through `_addmm_activation`, which on CUDA is cuBLASLt's GELU
epilogue. BERT, RoBERTa and DistilBERT have the exact GELU: in float32 their logits are off by 1e-3 after conversion.
Prints the largest distance of the fast path from the layer spelled out with either GELU. Needs a GPU.
"""

import torch
from torch.nn import functional as F

torch.manual_seed(0)
torch.backends.cuda.matmul.allow_tf32 = False
print("torch", torch.__version__)
for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, 0.0, activation="gelu", batch_first=True).to(device).eval()
    inputs, off = torch.randn(4, 32, 64, device=device), {}
    with torch.no_grad():
        fast = layer(inputs)
        attended = layer.norm1(inputs + layer.self_attn(inputs, inputs, inputs, need_weights=True)[0])
        for gelu in ("none", "tanh"):
            hidden = F.gelu(layer.linear1(attended), approximate=gelu)
            off[gelu] = float((fast - layer.norm2(attended + layer.linear2(hidden))).abs().max())
            print(
                f"{device}: GELU {gelu:4} max difference {off[gelu]:.3g}, expected {'0' if gelu == 'none' else 'more'}"
            )
    weight, bias = torch.randn(64, 64, device=device), torch.zeros(64, device=device)
    rows = torch.randn(64, 64, device=device)
    fused = torch._addmm_activation(bias, rows, weight, use_gelu=True)
    for gelu in ("none", "tanh"):
        difference = float((fused - F.gelu(rows @ weight, approximate=gelu)).abs().max())
        print(f"{device}: _addmm_activation, GELU {gelu:4} max difference {difference:.3g}")
if device == "cpu":
    print("cannot tell without a GPU: the CPU is right")
    raise SystemExit(2)
raise SystemExit(off["none"] > off["tanh"])
