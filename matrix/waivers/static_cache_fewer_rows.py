"""A StaticCache that is reset and then given fewer rows raises about shapes: it keeps the number of rows it began with.

Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

config = transformers.LlamaConfig(
    vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
)
torch.manual_seed(0)
model = transformers.AutoModelForCausalLM.from_config(config).eval()
tokens = torch.randint(4, 256, (4, 20))
cache = transformers.StaticCache(config=config, max_cache_len=40)
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: the logits of two rows")
with torch.no_grad():
    truth = model(tokens[:2]).logits
    model(tokens, past_key_values=cache, use_cache=True)
    cache.reset()
    try:
        off = (model(tokens[:2], past_key_values=cache, use_cache=True).logits - truth).abs().max()
    except RuntimeError as error:
        print("got RuntimeError:", error)
        raise SystemExit(1) from None
print(f"off by {off:.2g}")
raise SystemExit(bool(off > 1e-3))
