"""RecurrentGemma refuses attn_implementation="sdpa", and calls scaled_dot_product_attention whatever is asked for.

Seen with transformers 4.48.3 and 4.57.6; not with 5.23.0.
"""

import torch
import transformers
from torch.nn import functional

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "lru_width": 64}
ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "attention_window_size": 64}
called = []
plain = functional.scaled_dot_product_attention


def counted(*given, **options):
    """Note a call and make it."""
    called.append(given)
    return plain(*given, **options)


print("torch", torch.__version__, "transformers", transformers.__version__)
functional.scaled_dot_product_attention = counted
config = transformers.RecurrentGemmaConfig(**SMALL, **ATTENTION)
model = transformers.RecurrentGemmaForCausalLM._from_config(config, attn_implementation="eager").eval()
with torch.no_grad():
    model(torch.randint(4, 256, (1, 12)))
print(f"{model.config._attn_implementation} attention: expected 0 calls of SDPA, seen {len(called)}")
raise SystemExit(bool(called))
