"""`generate` with flex attention and a static cache raises: it calls `contiguous` of a block mask.

Seen with transformers 5.23.0; in 5.24.0 it is gone.
"""

import torch
import transformers

config = transformers.LlamaConfig(
    vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
)
model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="flex_attention").eval()
tokens = torch.randint(4, 256, (2, 20))
asked = {"max_new_tokens": 2, "do_sample": False, "pad_token_id": 0, "disable_compile": True}
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: 22 tokens")
try:
    found = model.generate(tokens, attention_mask=torch.ones_like(tokens), cache_implementation="static", **asked)
except AttributeError as error:
    print("got AttributeError:", error)
    raise SystemExit(1) from None
print("got", found.shape[1], "tokens")
raise SystemExit(found.shape[1] != 22)
