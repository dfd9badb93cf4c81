"""MiniMax in float16: the sums of lightning attention leave the range of float16 before the norm that follows.

`MiniMaxLightningAttention` adds up QK'V, unscaled and not divided by anything, in the dtype of the model, over all
tokens that a head has not yet forgotten; MiniMaxRMSNorm comes after. In layer 78 of 80, the last lightning layer of
MiniMax-Text-01, the slowest head forgets next to nothing. Heads are as large as there, inputs and products spread as
under weights of a standard deviation of 0.02.
"""

import copy

import torch
import transformers

try:
    from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention
except ImportError as error:
    print("transformers", transformers.__version__, "not in this release:", error)
    raise SystemExit(0) from None

HEADS = {"hidden_size": 512, "num_attention_heads": 4, "head_dim": 128, "num_hidden_layers": 80, "block_size": 256}
TOKENS = 8192

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
attention = MiniMaxLightningAttention(transformers.MiniMaxConfig(**HEADS), 78).eval()
torch.nn.init.normal_(attention.qkv_proj.weight, std=0.02 * (6144 / 512) ** 0.5)
found = {}
attention.norm.register_forward_pre_hook(lambda _, given: found.update(sums=given[0]))
hidden = torch.randn(1, TOKENS, 512)
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    seen = copy.deepcopy(attention).to(dtype)(hidden.to(dtype), None, None)[0]
    largest = [f"{float(found['sums'][:, :tokens].abs().max()):.3g}" for tokens in (256, 1024, 4096, TOKENS)]
    finite = bool(seen.isfinite().all())
    print(f"{dtype}: largest sum in 256, 1024, 4096 and {TOKENS} tokens {largest}, output finite: {finite}")
print(f"expected finite output, float16 ends at {torch.finfo(torch.float16).max:.0f}")
raise SystemExit(not finite)
