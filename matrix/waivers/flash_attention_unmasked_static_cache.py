"""Llama with FlashAttention-2 and a StaticCache, called without a mask: the slots that nothing has filled are seen.

No mask means causal, and causal is counted from the last key, which here is an empty slot. With a mask, of ones even,
the keys are cut to what the mask is long. Needs a GPU and flash-attn. Another attention may be named as an argument.
"""

import sys

import torch
import transformers
from transformers.utils import is_flash_attn_2_available

ATTENTION = sys.argv[1] if len(sys.argv) > 1 else "flash_attention_2"
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__, ATTENTION)
if ATTENTION == "flash_attention_2" and not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
device = "cuda" if torch.cuda.is_available() else "cpu"
config = transformers.LlamaConfig(num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2, **SMALL)
config._attn_implementation = ATTENTION
model = transformers.LlamaForCausalLM(config).to(device, torch.bfloat16).eval()
tokens, wrong = torch.randint(4, 256, (2, 20), device=device), False
for masked in (True, False):
    cache, seen = transformers.StaticCache(config=config, max_cache_len=40), []
    with torch.no_grad():
        expected = model(tokens).logits
        for end in range(16, 21):
            given = {"attention_mask": torch.ones_like(tokens[:, :end])} if masked else {}
            part = tokens[:, :16] if end == 16 else tokens[:, end - 1 : end]
            seen.append(model(part, past_key_values=cache, **given).logits)
    off, spread = float((torch.cat(seen, dim=1) - expected).abs().max()), float(expected.float().std())
    print(f"with a mask of ones: {masked}; expected the logits of one pass, off by {off:.2g} of a spread {spread:.2g}")
    wrong |= not off < spread / 2
raise SystemExit(wrong)
