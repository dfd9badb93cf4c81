"""Gemma3n without a cache is another model: layers that share keys and values make keys and values of their own.

They are taken from where an earlier layer left them in the cache; without one from the layer's own projections, which
no training has touched. Seen with transformers 4.57.6; not with 5.23.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "vocab_size_per_layer_input": 256, "hidden_size": 64, "hidden_size_per_layer_input": 16}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128}
LAYERS = {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "Gemma3nTextConfig"):
    print("Gemma3n is not in this release")
    raise SystemExit(2)
torch.manual_seed(0)
config = transformers.Gemma3nTextConfig(**SMALL, **ATTENTION, **LAYERS, activation_sparsity_pattern=[0.0] * 4)
model = transformers.Gemma3nForCausalLM(config).eval()
tokens = torch.randint(4, 200, (1, 24), generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    cached, alone = (model(tokens, use_cache=use).logits for use in (True, False))
off = float((cached - alone).abs().max())
print(f"with and without a cache: expected the same logits, they differ by {off:.2g}")
raise SystemExit(off > 1e-3)
