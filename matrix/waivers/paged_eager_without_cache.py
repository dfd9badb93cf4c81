"""Llama with 'paged|eager', the mode that continuous batching leaves behind, sees the future in an ordinary pass.

transformers makes no mask for paged attention: continuous batching brings its own. Until 5.23.0 `eager_paged.py` put
keys in the paged cache and refused to go on without one; 5.24.0 keeps them elsewhere, and the refusal is gone.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
LENGTH = 32

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.LlamaConfig(**SIZES, num_attention_heads=4, initializer_range=0.2)
config._attn_implementation = "paged|eager"
model = transformers.LlamaForCausalLM(config).eval()
tokens = torch.randint(4, 256, (1, LENGTH))
changed = tokens.clone()
changed[0, -1] = (tokens[0, -1] + 17) % 200 + 4
try:
    with torch.no_grad():
        first, second = (model(ids, use_cache=False).logits[0] for ids in (tokens, changed))
except ValueError as error:
    print(f"refused, as it should be: {error}")
    raise SystemExit(0) from None
count = int(((first - second).abs().amax(-1) > 1e-5).sum())
print(f"expected the last of {LENGTH} positions alone to see the last token, {count} do")
raise SystemExit(count > 1)
