"""Bamba without position_ids on a filled cache counts from 0 again: `torch.arange(tokens)`, whatever the cache holds.

Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "attn_layer_indices": [1]}
MAMBA = {"mamba_n_heads": 16, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.BambaConfig(**SMALL, **ATTENTION, **MAMBA, initializer_range=0.08)
model = transformers.BambaForCausalLM(config).eval()
tokens = torch.randint(4, 256, (1, 24))
for name, positions in (("position_ids", {"position_ids": torch.tensor([[23]])}), ("no position_ids", {})):
    with torch.no_grad():
        whole = model(tokens).logits[:, -1]
        cache = model(tokens[:, :23], use_cache=True).past_key_values
        last = model(tokens[:, 23:], past_key_values=cache, use_cache=True, **positions).logits[:, -1]
    off = float((last - whole).abs().max())
    print(f"{name}: expected the logits of one pass, off by {off:.2g} where they spread by {float(whole.std()):.2g}")
raise SystemExit(off > 1e-3)
