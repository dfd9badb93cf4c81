"""Llama with SDPA and is_causal=False stays causal as soon as a padding mask is given: the mask holds the triangle.

Seen with transformers 4.48.3 to 5.1.0; put right in 5.2.0.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
LENGTH = 32

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.LlamaConfig(**SIZES, num_attention_heads=4, initializer_range=0.2, attn_implementation="sdpa")
model = transformers.LlamaForCausalLM(config).eval()
model.config.is_causal = False
for layer in model.model.layers:
    layer.self_attn.is_causal = False
tokens = torch.randint(4, 256, (1, LENGTH))
changed = tokens.clone()
changed[0, -1] = (tokens[0, -1] + 17) % 200 + 4
padded = torch.ones_like(tokens)
padded[0, 0] = 0
for name, mask in (("no mask", None), ("padded mask", padded)):
    with torch.no_grad():
        first, second = (model(ids, attention_mask=mask, is_causal=False).logits[0] for ids in (tokens, changed))
    count = int(((first - second).abs().amax(-1) > 1e-5).sum())
    print(f"{name}: expected at least {LENGTH - 1} positions to see the last token, {count} do")
raise SystemExit(count < LENGTH - 1)
